/** Rude clients against plain servers of Node: what each visit is told to have come to. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";

// By address: the script is JavaScript, which TypeScript does not look into.
const { RUDE_KINDS, visitRudely } = await import(new URL("./rude-clients.mjs", import.meta.url).href);

const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

const LIMITS = { headersTimeout: 200, requestTimeout: 300, keepAliveTimeout: 100, connectionsCheckingInterval: 50 };

/** A server that reads bodies to their end and says yes. */
async function listen(limits: object) {
  const server = createServer(limits, (request, response) => {
    request.on("end", () => response.end("yes")).resume();
  });
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { host: "127.0.0.1", port, path: "/", body: '{"a":1}', random: () => 0.5 };
}

it.each<string>(RUDE_KINDS)("%s: a server with limits gets rid of it", async (kind) => {
  const { end } = await visitRudely(kind, await listen(LIMITS), 60_000);
  expect(end).not.toBe("forgotten");
});

it("tells of what was answered, and of a client that left first", async () => {
  const visit = await listen(LIMITS);
  expect(await visitRudely("garbage", visit, 60_000)).toEqual({ end: "answered", status: 400 });
  expect(await visitRudely("half a head", visit, 60_000)).toEqual({ end: "answered", status: 408 });
  const silent = createServer(LIMITS, () => {});
  open.push(silent);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo;
  const left = await visitRudely("leaves before the answer", { ...visit, port }, 60_000);
  expect(left).toEqual({ end: "left", status: null });
});

it("a server without limits forgets who says nothing", async () => {
  const visit = await listen({ headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: 0 });
  expect(await visitRudely("says nothing", visit, 100)).toEqual({ end: "forgotten", status: null });
});
