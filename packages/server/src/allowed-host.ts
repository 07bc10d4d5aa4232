/**
 * Whom a request believes to be talking to. A page of another origin can make a name of its own resolve to this machine; its
 * requests then carry that name. Where no key protects the server, only names of this machine are answered.
 */

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i;

/** Whether a bind address can be reached from this machine alone. @param host A name or an address, without brackets. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host.includes(":") ? `[${host}]` : host);
}

/** @param header The `Host` header: a name or an address, perhaps with a port. */
export function isLoopbackHeader(header: string): boolean {
  return LOOPBACK.test(header.replace(/:\d+$/, ""));
}
