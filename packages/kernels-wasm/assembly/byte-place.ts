/**
 * Room at the bottom of the memory for the tables of the other module (crc32c.ts and the constants of all files), below this one's constants. Imported first, so
 * that it comes first. A memory base given to the compiler would do the same, but takes the folding of constants into addresses away (6 % in Q4_K).
 */
const OTHER = memory.data(40960 - 1024, 16);

export const BASE_BYTES: usize = OTHER + 40960 - 1024;
