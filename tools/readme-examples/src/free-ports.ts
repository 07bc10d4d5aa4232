/** Ports of a page's examples, replaced by free ones: other programs of the machine may have those that are written there. */
import { type AddressInfo, createServer } from "node:net";

const PORT = /(?<=127\.0\.0\.1:|--port )\d{4,5}/g;

/**
 * @param text Names ports as `127.0.0.1:<port>` or `--port <port>`.
 * @returns Replaces each of them in any text that names it in the same way.
 */
export async function freePorts(text: string): Promise<(text: string) => string> {
  const named = [...new Set(text.match(PORT) ?? [])];
  const free = await Promise.all(named.map(freePort));
  return (other) => other.replace(PORT, (port) => String(free[named.indexOf(port)] ?? port));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
