// The peers of the push benchmark, on one port: node peers.js socket.io|socket.io-back|ws PORT
// socket.io-back is what clients come back to: with recovery, POST /tick?N for an event to all, and GET /sockets.
const { createServer } = require("http");
const [, , which, port] = process.argv;
const server = createServer();
if (which.startsWith("socket.io")) {
  const { Server } = require("socket.io");
  const back = which === "socket.io-back";
  if (back) {
    server.on("request", (request, response) => {
      const [path, tick] = request.url.split("?");
      if (path === "/tick") io.emit("tick", Number(tick));
      response.end(path === "/sockets" ? String(io.sockets.sockets.size) : "");
    });
  }
  const io = new Server(server, { serveClient: false, ...(back && { connectionStateRecovery: {} }) });
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
