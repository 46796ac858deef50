// A counting server written with the official package socket.io: server.js PORT FILE.
//
// It hands out the roles in order, keeps the numbers of each role in FILE, one "ROLE NUMBER" a line,
// and prints what it does. A number that leaves out one of its role ends it. A number is acknowledged
// once all numbers before it are there.
//
// REFUSE=n refuses the number n once, FORGET=n does not acknowledge it once.
"use strict";
const fs = require("fs");
const { createServer } = require("http");
const { Server } = require("socket.io");

const [port, file] = process.argv.slice(2);
const roles = ["client1", "client2"];
const last = { client1: 0, client2: 0 };
const holders = {};
let refuse = Number(process.env.REFUSE || 0);
let forget = Number(process.env.FORGET || 0);

for (const line of fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").filter(Boolean) : []) {
    const [role, number] = line.split(" ");
    last[role] = Number(number);
}

const http = createServer();
const io = new Server(http, { pingInterval: 1000, pingTimeout: 1000 });
const following = (role) => (last[role] ? last[role] + 2 : roles.indexOf(role) + 1);
let waiting = [];
const acknowledgeCounted = () => {
    const next = Math.min(...roles.map(following));
    const due = waiting.filter(([number]) => number < next);
    waiting = waiting.filter(([number]) => number >= next);
    due.forEach(([number, acknowledge]) => acknowledge({ ok: true, number }));
};
const wanted = (socket) => {
    const free = roles.filter((role) => !holders[role]);
    return free.find((role) => role === socket.handshake.auth.role) || free[0];
};

io.use((socket, next) => next(wanted(socket) ? undefined : new Error("both roles are taken")));
io.on("connection", (socket) => {
    const role = wanted(socket);
    if (!role) return socket.disconnect(true);
    holders[role] = socket;
    console.log(`${role} connected, auth ${JSON.stringify(socket.handshake.auth)}, by ${socket.conn.transport.name}`);
    socket.emit("client_assigned", { client_id: role, last_number: last[role] });
    if (holders.client1 && holders.client2) io.emit("start_game");
    socket.on("number", ({ client_id, number }, acknowledge) => {
        const next = following(role);
        if (client_id !== role || number > next) {
            console.log(`WRONG ${client_id} ${number} of ${role}, whose next number is ${next}`);
            process.exit(1);
        }
        if (number === refuse) {
            refuse = 0;
            return acknowledge({ ok: false, error: "on purpose" });
        }
        if (number === next) {
            fs.appendFileSync(file, `${role} ${number}\n`);
            last[role] = number;
            console.log(`${role} ${number}`);
        } else {
            console.log(`again ${role} ${number}`);
        }
        if (number === forget) {
            forget = 0;
            return;
        }
        waiting.push([number, acknowledge]);
        acknowledgeCounted();
    });
    socket.on("disconnect", (reason) => {
        console.log(`${role} disconnected: ${reason}`);
        delete holders[role];
        io.emit("stop_game");
    });
});
http.listen(Number(port), "127.0.0.1", () => console.log("listening"));
