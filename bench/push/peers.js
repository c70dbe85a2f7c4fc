// The peers of the push benchmark, on one port: node peers.js socket.io|ws PORT
const { createServer } = require("http");
const [, , which, port] = process.argv;
const server = createServer();
if (which === "socket.io") {
  const { Server } = require("socket.io");
  const io = new Server(server, { serveClient: false });
  io.on("connection", socket => {
    socket.on("echo", (...rest) => rest.pop()(...rest));
    socket.on("join", (room, done) => { socket.join(room); done(); });
    socket.on("emit", (room, event, ...rest) => socket.to(room).emit(event, ...rest));
  });
} else {
  const { WebSocketServer } = require("ws");
  const all = new WebSocketServer({ server, perMessageDeflate: false });
  all.on("connection", socket => socket.on("message", (data, binary) => socket.send(data, { binary })));
}
server.listen(Number(port), "127.0.0.1", 4096, () => console.log("listening"));
