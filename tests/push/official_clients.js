// The official clients of Socket.IO 4 and 2 against a muster-push: node official_clients.js URL
const assert = require("assert");
const { io } = require("socket.io-client");
const io2 = require("socket.io-client-2");
const url = process.argv[2];

const call = (socket, ...event) => new Promise(resolve => socket.emit(...event, resolve));
const next = (socket, event) => new Promise(resolve => socket.once(event, resolve));
const connected = socket => (socket.connected ? null : next(socket, "connect"));
async function until(condition, what) {
  for (let i = 0; i < 500; ++i) {
    if (condition()) return;
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  throw new Error("waited for " + what);
}

const tests = {
  async "each transport connects, and polling goes over to WebSocket"(open) {
    for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
      const socket = open(io(url, { transports, forceNew: true }));
      await connected(socket);
      await until(() => socket.io.engine.transport.name === transports.at(-1), "the upgrade");
      assert.deepStrictEqual(await call(socket, "echo", 1), 1);
    }
  },
  async "binary goes both ways"(open) {
    for (const transports of [["polling"], ["websocket"]]) {
      const socket = open(io(url, { transports, forceNew: true }));
      assert.deepStrictEqual(await call(socket, "echo", { a: Buffer.from([1, 2, 3]) }), { a: Buffer.from([1, 2, 3]) });
    }
  },
  async "messages, groups and presence between clients of both releases"(open) {
    const ann = open(io(url, { forceNew: true, auth: { id: "ann" } })), bob = open(io2(url, { forceNew: true }));
    await Promise.all([connected(ann), connected(bob)]);
    assert((await call(ann, "subscribe", { subscribeGroups: [{ id: "g" }] })).success);
    const came = next(ann, "presence");
    assert((await call(bob, "auth", JSON.stringify({ id: "bob" }))).success);
    assert((await call(bob, "subscribe", { subscribeGroups: [{ id: "g" }] })).success);
    assert.deepStrictEqual(await came, { groupId: "g", userId: "bob", event: "join" });
    const got = next(bob, "msg"), own = next(ann, "msg");
    const sent = await call(ann, "msg", { type: 1, target: { id: "g", type: 1 }, content: "h\u00e9llo" });
    assert.strictEqual((await got).content, "h\u00e9llo");
    assert.strictEqual((await own).id, sent.data.id);
    assert.deepStrictEqual((await call(bob, "online", "g")).data.userIds, ["ann", "bob"]);
  },
  async "who lost the connection comes back with what was missed"(open) {
    const ann = open(io(url, { forceNew: true, auth: { id: "a" } }));
    const bob = open(io(url, { forceNew: true, auth: { id: "b" }, transports: ["websocket"], reconnectionDelay: 100 }));
    await Promise.all([connected(ann), connected(bob)]);
    const seen = [];
    bob.on("msg", message => seen.push(message.content));
    await call(ann, "msg", { type: 0, target: { id: "b" }, content: "seen" });
    await until(() => seen.length === 1, "the first message");
    const id = bob.id, gone = next(bob, "disconnect");
    bob.io.engine.close();
    await gone;
    await call(ann, "msg", { type: 0, target: { id: "b" }, content: "missed" });
    await connected(bob);
    await until(() => seen.length === 2, "the missed message");
    assert.deepStrictEqual([bob.recovered, bob.id, seen], [true, id, ["seen", "missed"]]);
  },
  async "namespaces share a connection, and an unknown one is refused"(open) {
    const main = open(io(url)), custom = open(io(url + "/custom")), bad = open(io(url + "/bad"));
    const refused = next(bad, "connect_error");
    await Promise.all([connected(main), connected(custom)]);
    assert.strictEqual(main.io, custom.io);
    assert.strictEqual((await refused).message, "Invalid namespace");
  },
};

(async () => {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    const sockets = [];
    try {
      await test(socket => (sockets.push(socket), socket));
      console.log("ok   " + name);
    } catch (error) {
      ++failed;
      console.log("FAIL " + name + ": " + error.stack);
    }
    for (const socket of sockets) socket.disconnect();
  }
  console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
})();
