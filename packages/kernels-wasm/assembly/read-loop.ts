/** Reads `sizeBytes` (a multiple of 64) in sequence and does nothing else: the ceiling that a kernel's GB/s are held against. */
export function readLoop(ptr: usize, sizeBytes: usize): i32 {
  let a = i32x4.splat(0), b = a, c = a, d = a;
  for (const end = ptr + sizeBytes; ptr != end; ptr += 64) {
    a = v128.xor(a, v128.load(ptr));
    b = v128.xor(b, v128.load(ptr, 16));
    c = v128.xor(c, v128.load(ptr, 32));
    d = v128.xor(d, v128.load(ptr, 48));
  }
  return i32x4.extract_lane(v128.xor(v128.xor(a, b), v128.xor(c, d)), 0);
}
