/**
 * Clients that no server wants: half a request and then silence, readers that hardly read, connections that are reset in the middle, bytes that are no
 * HTTP, bodies and heads without end, and connections that are held. Each visit ends with the server's answer, or with the end of the connection, which
 * the server or the client brought about. What a rude client gets is not looked at but for its status: that others are served meanwhile is the point.
 */
import { connect } from "node:net";

/** Longer than the server waits for a request or an idle connection: what is not over by then has been forgotten. */
export const PATIENCE_MS = 180_000;
const SLOW_READ_MS = 200;
const OVERSIZE_BYTES = 4 * 2 ** 20;
const HEAD_BYTES = 64 * 1024;
const PIPELINED = 8;

/** @typedef {{ host: string, port: number, path: string, body: string, random: () => number }} Visit */
/** @typedef {"answered" | "closed" | "left" | "forgotten"} End */

/**
 * Kinds of visits by name. Each is given a socket that is connected, and resolves when the client has had enough of it; null: it waits for the server.
 *
 * @type {Record<string, (socket: import("node:net").Socket, visit: Visit) => Promise<void> | null>}
 */
const KINDS = {
  "says nothing": () => null,
  "half a head": (socket, { path }) => say(socket, `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-`),
  "half a body": (socket, visit) => say(socket, request(visit).slice(0, -Math.ceil(visit.body.length / 2))),
  "reads slowly": (socket, visit) => {
    socket.pause();
    const timer = setInterval(() => socket.read(64), SLOW_READ_MS);
    socket.once("close", () => clearInterval(timer));
    return say(socket, request(visit));
  },
  "resets in the middle": async (socket, visit) => {
    say(socket, request(visit));
    await new Promise((resolve) => {
      socket.once("data", resolve);
      socket.once("close", resolve);
    });
    socket.resetAndDestroy();
  },
  "leaves before the answer": async (socket, visit) => {
    say(socket, request(visit));
    await pause(20 * visit.random());
    socket.destroy();
  },
  garbage: (socket, { random }) => {
    socket.write(Buffer.from(Array.from({ length: 2000 }, () => Math.floor(256 * random()))));
    return null;
  },
  "a body that is garbage": (socket, visit) => {
    const body = Array.from({ length: 200 }, () => String.fromCharCode(32 + Math.floor(95 * visit.random()))).join("");
    return say(socket, request({ ...visit, body }));
  },
  "a body too large": (socket, visit) => say(socket, request({ ...visit, body: `"${"x".repeat(OVERSIZE_BYTES)}"` })),
  "a head too large": (socket, { path }) =>
    say(socket, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nX-A: ${"x".repeat(HEAD_BYTES)}\r\n\r\n`),
  "many requests at once": (socket, visit) => say(socket, request(visit).repeat(PIPELINED)),
  "holds a connection": async (socket, visit) => {
    // Asks now and then, so that it is never idle for long.
    for (let asked = 0; asked < 5 && !socket.destroyed; asked++) {
      say(socket, `GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      await pause(1000 * visit.random());
    }
    socket.destroy();
  },
};

export const RUDE_KINDS = Object.keys(KINDS);

/**
 * One rude client, until it is told to stop.
 *
 * @param {Omit<Visit, "body"> & { bodies: readonly string[], isOver: () => boolean, patienceMs?: number }} parts
 * @param {(outcome: { kind: string, end: End, status: number | null }) => void} tell
 */
export async function runRudeClient({ bodies, isOver, patienceMs = PATIENCE_MS, ...parts }, tell) {
  while (!isOver()) {
    const kind = RUDE_KINDS[Math.floor(parts.random() * RUDE_KINDS.length)];
    const body = bodies[Math.floor(parts.random() * bodies.length)];
    tell({ kind, ...(await visitRudely(kind, { ...parts, body }, patienceMs, isOver)) });
  }
}

/** @param {string} kind @param {Visit} visit @returns {Promise<{ end: End, status: number | null }>} */
export async function visitRudely(kind, visit, patienceMs, isOver = () => false) {
  const socket = connect(visit.port, visit.host);
  let beginning = "";
  let isLate = false;
  let hasLeft = false;
  socket.on("data", (data) => {
    if (beginning.length < 16) beginning += data.toString("latin1");
  });
  // A reset is what rude clients get.
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const late = setTimeout(() => {
    isLate = true;
    socket.destroy();
  }, patienceMs);
  // At the end of a soak nobody is waited for.
  const looking = setInterval(() => {
    if (isOver()) socket.destroy();
  }, 200);
  const had = KINDS[kind](socket, visit);
  had?.then(() => {
    hasLeft = true;
  });
  await closed;
  clearTimeout(late);
  clearInterval(looking);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(beginning)?.[1] ?? 0) || null;
  if (isLate) return { end: "forgotten", status };
  if (status !== null) return { end: "answered", status };
  return { end: hasLeft || isOver() ? "left" : "closed", status };
}

function request({ path, body }) {
  return (
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}

function say(socket, text) {
  socket.write(text);
  return null;
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
