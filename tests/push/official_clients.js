// An official client (its release is 4, 3 or 2) against servers of muster-push: PLACES='{…}' node official_clients.js RELEASE
//   PLACES: url, admin and token; restless and restlessAdmin, with a short heartbeat and recovery; secure, with the file of its ca; draining with drainingAdmin, and elsewhere
const assert = require("assert");
const fs = require("fs");
const net = require("net");
const release = Number(process.argv[2]);
const places = JSON.parse(process.env.PLACES);
const library = require(release === 4 ? "socket.io-client" : "socket.io-client-" + release);
const io = library.io || library;
const POLLING = ["polling"], WEBSOCKET = ["websocket"], UPGRADE = ["polling", "websocket"];

const call = (socket, ...event) => new Promise(resolve => socket.emit(...event, resolve));
const next = (socket, event) => new Promise(resolve => socket.once(event, resolve));
const connected = socket => (socket.connected ? null : next(socket, "connect"));
async function until(condition, what) {
  for (let i = 0; i < 1500; ++i) {
    if (condition()) return;
    await new Promise(resolve => setTimeout(resolve, 10)); // between two looks
  }
  throw new Error("waited for " + what);
}
const upgraded = socket => until(() => socket.io.engine && socket.io.engine.transport.name === "websocket", "the upgrade");

// A client that says who it is, in the way that all releases know.
async function user(open, id, options = {}, url = places.url) {
  const socket = open(url, options);
  await connected(socket);
  assert((await call(socket, "auth", { id })).success);
  return socket;
}
const groups = async (socket, ...ids) =>
  assert((await call(socket, "subscribe", { subscribeGroups: ids.map(id => ({ id })) })).success);
async function api(path, body, admin = places.admin) {
  const answer = await fetch(admin + path, { method: "POST", body: JSON.stringify(body), headers: { Authorization: "Bearer " + places.token } });
  assert(answer.ok, path + " " + answer.status);
  return answer.json();
}
const push = (order, admin) => api("/v1/push", order, admin);
// Until the server knows that nobody is there any more; of long-polling between two requests its heartbeat tells.
async function gone(id, admin = places.admin) {
  const headers = { Authorization: "Bearer " + places.token };
  while ((await (await fetch(`${admin}/v1/online?user=${id}`, { headers })).json()).clients > 0) {
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

// A way to the server that breaks: cut() ends what goes over it, and refuses what comes until mend().
async function network(open, to = places.url) {
  const target = new URL(to), sockets = new Set();
  let broken = false;
  const server = net.createServer(near => {
    if (broken) return near.destroy();
    const far = net.connect(Number(target.port), target.hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.setNoDelay(true);
      one.pipe(other);
      one.on("error", () => {});
      one.on("close", () => (sockets.delete(one), other.destroy()));
    }
  });
  await new Promise(resolve => server.listen(0, "127.0.0.1", resolve));
  open.after(() => (server.close(), sockets.forEach(each => each.destroy())));
  return {
    url: "http://127.0.0.1:" + server.address().port,
    cut: () => ((broken = true), sockets.forEach(each => each.destroy())),
    mend: () => (broken = false),
  };
}
const soon = { reconnectionDelay: 20, reconnectionDelayMax: 50, randomizationFactor: 0 };

const tests = {
  async "each transport connects, and polling goes over to WebSocket"(open) {
    for (const transports of [POLLING, WEBSOCKET, UPGRADE]) {
      const socket = open(places.url, { transports });
      await connected(socket);
      await until(() => socket.io.engine.transport.name === transports.at(-1), "the upgrade");
      assert.deepStrictEqual(await call(socket, "echo", 1), 1);
    }
  },
  async "binary goes both ways"(open) {
    for (const transports of [POLLING, WEBSOCKET]) {
      const socket = open(places.url, { transports });
      assert.deepStrictEqual(await call(socket, "echo", { a: Buffer.from([1, 2, 3]) }), { a: Buffer.from([1, 2, 3]) });
    }
  },
  async "messages, groups and presence"(open) {
    const ann = await user(open, "ann"), bob = open(places.url, {});
    await connected(bob);
    await groups(ann, "g");
    const came = next(ann, "presence");
    assert((await call(bob, "auth", JSON.stringify({ id: "bob" }))).success);
    await groups(bob, "g");
    assert.deepStrictEqual(await came, { groupId: "g", userId: "bob", event: "join" });
    const got = next(bob, "msg"), own = next(ann, "msg");
    const sent = await call(ann, "msg", { type: 1, target: { id: "g", type: 1 }, content: "h\u00e9llo" });
    assert.strictEqual((await got).content, "h\u00e9llo");
    assert.strictEqual((await own).id, sent.data.id);
    assert.deepStrictEqual((await call(bob, "online", "g")).data.userIds, ["ann", "bob"]);
  },
  async "namespaces share a connection, and an unknown one is refused"(open) {
    const main = open(places.url, { forceNew: false }), custom = open(places.url + "/custom", { forceNew: false });
    const bad = open(places.url + "/bad", { forceNew: false });
    const refused = next(bad, release > 2 ? "connect_error" : "error");
    await Promise.all([connected(main), connected(custom)]);
    assert.strictEqual(main.io, custom.io);
    const why = await refused;
    assert.strictEqual(why.message || why, "Invalid namespace");
  },
  async "the server asks for acks, of JSON and of bytes, over each transport"(open) {
    for (const transports of [POLLING, WEBSOCKET, UPGRADE]) {
      const id = "acks-" + transports.join("-"), socket = await user(open, id, { transports });
      socket.on("sum", (...rest) => rest.pop()(rest.reduce((sum, each) => sum + each, 0), "h\u00e9"));
      socket.on("bytes", done => done(Buffer.from([1, 2, 3])));
      socket.on("silent", () => {});
      const asked = await push({ to: { user: id }, event: "sum", arguments: [1, 2, 39], ack: "10s" });
      assert.deepStrictEqual([asked.delivered, asked.acknowledged, asked.answers], [1, 1, [[42, "h\u00e9"]]]);
      assert.deepStrictEqual((await push({ to: { user: id }, event: "bytes", arguments: [], ack: "10s" })).answers, [[{ base64: "AQID" }]]);
      const unanswered = await push({ to: { user: id }, event: "silent", arguments: [], ack: "50ms" });
      assert.deepStrictEqual([unanswered.delivered, unanswered.acknowledged], [1, 0]);
    }
  },
  async "binary events reach all others of a room over each transport"(open) {
    const from = open(places.url, {}), others = [POLLING, WEBSOCKET].map(transports => open(places.url, { transports }));
    await Promise.all([from, ...others].map(connected));
    for (const socket of [from, ...others]) await call(socket, "join", "pictures");
    const big = Buffer.alloc(100000, 7), got = others.map(socket => []);
    others.forEach((socket, at) => socket.on("picture", (...rest) => got[at].push(rest)));
    from.on("picture", () => assert.fail("it came back to who sent it"));
    from.emit("emit", "pictures", "picture", { name: "a", bytes: Buffer.from([0, 255]) }, big, "end");
    from.emit("emit", "pictures", "picture", Buffer.alloc(0));
    await until(() => got.every(each => each.length === 2), "both events in both");
    for (const each of got) {
      assert.deepStrictEqual(each, [[{ name: "a", bytes: Buffer.from([0, 255]) }, big, "end"], [Buffer.alloc(0)]]);
    }
    assert.strictEqual(await call(from, "echo", "done"), "done"); // what would have come back came before this
  },
  async "who lost the network connects again by itself, over each transport"(open) {
    for (const transports of [POLLING, WEBSOCKET, UPGRADE]) {
      const id = "back-" + transports.join("-"), way = await network(open);
      const socket = await user(open, id, { transports, ...soon }, way.url);
      if (transports === UPGRADE) await upgraded(socket);
      const lost = next(socket, "disconnect");
      way.cut();
      assert(["transport close", "transport error"].includes(await lost));
      const again = next(socket, "connect");
      way.mend();
      await again;
      if (!socket.recovered) assert((await call(socket, "auth", { id })).success);
      const got = next(socket, "msg");
      // Of long-polling between two requests the server may still think that the old one is there, too.
      assert((await push({ to: { user: id }, content: "welcome back" })).delivered >= 1);
      assert.strictEqual((await got).content, "welcome back");
    }
  },
  async "TLS with a CA of one's own, and nothing without that"(open) {
    const ca = fs.readFileSync(places.ca);
    for (const transports of [POLLING, WEBSOCKET, UPGRADE]) {
      const socket = await user(open, "secure-" + transports.join("-"), { transports, ca }, places.secure);
      await until(() => socket.io.engine.transport.name === transports.at(-1), "the upgrade");
      assert.deepStrictEqual(await call(socket, "echo", Buffer.alloc(70000, 1)), Buffer.alloc(70000, 1));
      const stranger = open(places.secure, { transports: transports.slice(0, 1), reconnection: false });
      await next(stranger, "connect_error");
      assert(!stranger.connected);
    }
  },
  async "volatile both ways"(open) {
    const ann = await user(open, "volatile-ann"), bob = await user(open, "volatile-bob");
    const got = [];
    bob.on("msg", message => got.push(message.content));
    await until(() => ann.io.engine.writable || ann.io.engine.transport.writable, "a transport that can take more");
    // A volatile event of a client goes out where its transport can take it at once, and else is dropped by itself.
    for (let i = 0; got.length === 0; ++i) {
      assert(i < 500, "none of 500 came");
      (ann.volatile || ann).emit("msg", { type: 0, target: { id: "volatile-bob" }, content: "of a client", volatile: true });
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    assert.strictEqual((await push({ to: { user: "volatile-bob" }, content: "of the API", volatile: true })).delivered, 1);
    await until(() => got.at(-1) === "of the API", "the API's");
  },
  async "who is kicked hears of it, is disconnected and stays away; out of a group it stays"(open) {
    for (const transports of [POLLING, WEBSOCKET]) {
      const id = "kicked-" + transports.join("-"), socket = await user(open, id, { transports, ...soon });
      await groups(socket, "kicks-" + id);
      let heard = next(socket, "kicked");
      assert.deepStrictEqual(await api("/v1/kick", { user: id, from_group: "kicks-" + id }), { kicked: 1 });
      assert.deepStrictEqual(await heard, { groupId: "kicks-" + id });
      assert.strictEqual(await call(socket, "echo", 1), 1);
      heard = next(socket, "kicked");
      const left = next(socket, "disconnect");
      assert.deepStrictEqual(await api("/v1/kick", { user: id }), { kicked: 1 });
      assert.deepStrictEqual(await heard, {});
      assert.strictEqual(await left, "io server disconnect"); // for which no client comes back by itself
      await gone(id);
      assert(!socket.connected);
      socket.connect();
      await connected(socket);
      assert(!socket.recovered);
      assert.deepStrictEqual((await push({ to: { user: id }, content: "who are you?" })).delivered, 0);
    }
  },
  async "a node that drains sends its clients elsewhere"(open) {
    const here = [POLLING, WEBSOCKET].map(transports => open(places.draining, { transports, reconnection: false }));
    await Promise.all(here.map(connected));
    const moved = here.map(async socket => {
      const lost = next(socket, "disconnect"), { elsewhere, withinMs } = await next(socket, "drain");
      assert.deepStrictEqual([elsewhere, withinMs], [places.elsewhere, 300]);
      const there = await user(open, "moved-" + socket.io.opts.transports[0], {}, elsewhere);
      await lost;
      return there;
    });
    await api("/v1/drain", {}, places.drainingAdmin);
    const refused = async late => Promise.race([next(late, "connect_error").then(() => true), next(late, "connect").then(() => false)]);
    // A shard takes who comes until it hears of the drain.
    while (!(await refused(open(places.draining, { reconnection: false })))) {}
    for (const socket of await Promise.all(moved)) assert.strictEqual(await call(socket, "echo", 1), 1);
  },
};

// Recovery came with release 4.6.
const tell = order => push(order, places.restlessAdmin);
const recovery = {
  async "who lost the network comes back as the same socket with what was missed, but nothing volatile"(open) {
    for (const transports of [POLLING, WEBSOCKET, UPGRADE]) {
      const id = "recovered-" + transports.join("-"), way = await network(open, places.restless), seen = [];
      const socket = open(way.url, { transports, auth: { id }, ...soon });
      socket.on("msg", message => seen.push(message.content));
      await connected(socket);
      if (transports === UPGRADE) await upgraded(socket);
      await tell({ to: { user: id }, content: "seen" });
      await until(() => seen.length === 1, "the first message");
      const before = socket.id, lost = next(socket, "disconnect");
      way.cut();
      await lost;
      await gone(id, places.restlessAdmin);
      for (const content of ["missed 1", "missed 2"]) await tell({ to: { user: id }, content });
      await tell({ to: { user: id }, content: "volatile", volatile: true });
      way.mend();
      await connected(socket);
      await tell({ to: { user: id }, content: "new" });
      await until(() => seen.length >= 4, "what was missed, and the new one");
      if (transports === UPGRADE) await upgraded(socket);
      assert.deepStrictEqual([socket.recovered, socket.id, seen], [true, before, ["seen", "missed 1", "missed 2", "new"]]);
    }
  },
  async "each message comes once and in order, however often the network goes in the midst of upgrades"(open) {
    const way = await network(open, places.restless), seen = [], socket = open(way.url, { auth: { id: "often" }, ...soon });
    let recovered = 0, connects = 0, sent = 0, over = false;
    socket.on("msg", message => seen.push(message.content));
    socket.on("connect", () => (++connects, recovered += socket.recovered));
    await connected(socket);
    await tell({ to: { user: "often" }, content: sent++ });
    await until(() => seen.length === 1, "the first message");
    const pushing = (async () => {
      while (!over) {
        await tell({ to: { user: "often" }, content: sent++ });
        await new Promise(resolve => setTimeout(resolve, 2)); // or more would soon be missed than is kept
      }
    })();
    for (let round = 0; round < 9; ++round) {
      const before = seen.length;
      if (round % 3 === 2) await upgraded(socket);
      await until(() => seen.length > before, "one more");
      const lost = next(socket, "disconnect");
      way.cut();
      await lost;
      await gone("often", places.restlessAdmin); // before that is known it would be somebody new
      way.mend();
      await connected(socket);
    }
    over = true;
    await pushing;
    await until(() => seen.length >= sent, "all " + sent);
    assert(connects >= 10 && recovered === connects - 1, `${recovered} of ${connects}`);
    assert.deepStrictEqual(seen, [...Array(sent).keys()]);
  },
};

(async () => {
  const wanted = Object.entries(release >= 4 ? { ...tests, ...recovery } : tests);
  let failed = 0;
  for (const [name, test] of wanted) {
    const sockets = [], endings = [];
    const open = (url, options) => (sockets.push(io(url, { forceNew: true, ...options })), sockets.at(-1));
    open.after = ending => endings.push(ending);
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("takes more than 40 s")), 40000)));
    try {
      await Promise.race([test(open), late]);
      console.log("ok   " + name);
    } catch (error) {
      ++failed;
      console.log("FAIL " + name + ": " + error.stack);
    }
    clearTimeout(timer);
    for (const socket of sockets) socket.disconnect();
    for (const ending of endings) ending();
  }
  console.log(`${wanted.length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
})();
