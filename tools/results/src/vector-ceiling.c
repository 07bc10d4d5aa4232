/*
 * What arithmetic with vectors of 128 bits can reach on a core, whoever writes the kernels: WebAssembly has no longer ones. Activations are integers of
 * 15 bits, so that a multiplication has eight products.
 *
 *     gcc -O3 -mavx -mf16c -pthread -o vector-ceiling tools/results/src/vector-ceiling.c -lm && ./vector-ceiling <threads>
 *
 * Prints JSON, sums over threads of the best of several turns that they begin together:
 *   productsGflops           multiplying and adding what is in registers, and nothing else: no batch is faster;
 *   q4KGweights, q6KGweights rows of those blocks times one vector, all of it in the first two levels of cache: weights a second, in 1e9, without DRAM. The
 *                            vector is prepared: its order, its sums, and its scale are given. Instructions that WebAssembly lacks (halves to floats) are used.
 * Rows are held against plain loops first.
 */
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_THREADS 64
#define TURNS 15
#define BLOCK 256
#define BLOCKS 16
#define COLUMNS (BLOCK * BLOCKS)
#define ROWS 16
#define REPEATS 300
#define PRODUCT_LOOPS 4000000L
/* Vectors side by side, so that none waits for the sum before it. */
#define SUMS 12

typedef struct {
  uint16_t d, dmin;
  uint8_t scales[12], quants[128];
} q4k;

typedef struct {
  uint8_t low[128], high[64];
  int8_t scales[16];
  uint16_t d;
} __attribute__((packed)) q6k;

/* A vector: in its own order, and as both loops want it, with sums of 32 and of 16. */
typedef struct {
  int16_t plain[COLUMNS];
  int16_t q4[COLUMNS] __attribute__((aligned(16)));
  int16_t q6[COLUMNS] __attribute__((aligned(16)));
  float sums32[COLUMNS / 32] __attribute__((aligned(16)));
  float sums16[COLUMNS / 16] __attribute__((aligned(16)));
} vector;

typedef struct {
  q4k q4[ROWS][BLOCKS];
  q6k q6[ROWS][BLOCKS];
  vector x;
} operands;

static pthread_barrier_t together;
static double best[3][MOST_THREADS];

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* Floating point operations a second, in 1e9. */
static double product_rate(operands *unused) {
  (void)unused;
  __m128i sums[SUMS], a = _mm_set1_epi16(3);
  const __m128i b = _mm_set1_epi16(5);
  for (int i = 0; i < SUMS; i++) sums[i] = _mm_set1_epi32(i);
  double begin = now();
  for (long loop = 0; loop < PRODUCT_LOOPS; loop++) {
    for (int i = 0; i < SUMS; i++) {
      /* The compiler must not know that it is the same product. */
      __asm__ volatile("" : "+x"(a));
      sums[i] = _mm_add_epi32(sums[i], _mm_madd_epi16(a, b));
    }
  }
  double seconds = now() - begin;
  for (int i = 0; i < SUMS; i++) __asm__ volatile("" : : "x"(sums[i]));
  return 1e-9 * 16.0 * SUMS * (double)PRODUCT_LOOPS / seconds;
}

/* Scales and minima of a Q4_K block, of six bits each, as bytes. */
static inline void q4_scales(const uint8_t *packed, uint32_t bytes[4]) {
  uint32_t words[3];
  memcpy(words, packed, 12);
  bytes[3] = ((words[2] >> 4) & 0x0f0f0f0f) | (((words[1] >> 6) & 0x03030303) << 4);
  bytes[2] = words[1] & 0x3f3f3f3f;
  bytes[1] = (words[2] & 0x0f0f0f0f) | (((words[0] >> 6) & 0x03030303) << 4);
  bytes[0] = words[0] & 0x3f3f3f3f;
}

static inline __m128 products(__m128 sum, __m128i dot, __m128 scales, int of) {
  __m128 scale = of == 0   ? _mm_shuffle_ps(scales, scales, 0x00)
                 : of == 1 ? _mm_shuffle_ps(scales, scales, 0x55)
                 : of == 2 ? _mm_shuffle_ps(scales, scales, 0xaa)
                           : _mm_shuffle_ps(scales, scales, 0xff);
  return _mm_add_ps(sum, _mm_mul_ps(_mm_cvtepi32_ps(dot), scale));
}

static inline float across(__m128 v) {
  __m128 pairs = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps(pairs, pairs, 1)));
}

static inline __m128 floats(uint32_t bytes) {
  return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128((int)bytes)));
}

static float q4_row(const q4k *row, const vector *x) {
  const __m128i low = _mm_set1_epi16(15);
  __m128 sum = _mm_setzero_ps();
  for (int at = 0; at < BLOCKS; at++) {
    const q4k *block = &row[at];
    uint32_t bytes[4];
    q4_scales(block->scales, bytes);
    __m128 d = _mm_set1_ps(_cvtsh_ss(block->d)), dmin = _mm_set1_ps(_cvtsh_ss(block->dmin));
    __m128 scales[2] = {_mm_mul_ps(d, floats(bytes[0])), _mm_mul_ps(d, floats(bytes[1]))};
    const __m128i *v = (const __m128i *)(x->q4 + BLOCK * at);
    for (int j = 0; j < 4; j++, v += 8) {
      __m128i dots[2];
      for (int half = 0; half < 2; half++) {
        __m128i words = _mm_loadu_si128((const __m128i *)(block->quants + 32 * j + 16 * half));
        __m128i first = _mm_add_epi32(_mm_madd_epi16(_mm_and_si128(words, low), v[4 * half]),
                                      _mm_madd_epi16(_mm_and_si128(_mm_srli_epi16(words, 8), low), v[4 * half + 1]));
        __m128i second = _mm_add_epi32(_mm_madd_epi16(_mm_and_si128(_mm_srli_epi16(words, 4), low), v[4 * half + 2]),
                                       _mm_madd_epi16(_mm_srli_epi16(words, 12), v[4 * half + 3]));
        dots[0] = half == 0 ? first : _mm_add_epi32(dots[0], first);
        dots[1] = half == 0 ? second : _mm_add_epi32(dots[1], second);
      }
      sum = products(sum, dots[0], scales[j / 2], (2 * j) % 4);
      sum = products(sum, dots[1], scales[j / 2], (2 * j + 1) % 4);
    }
    const float *sums = x->sums32 + 8 * at;
    __m128 least = _mm_add_ps(_mm_mul_ps(floats(bytes[2]), _mm_load_ps(sums)),
                              _mm_mul_ps(floats(bytes[3]), _mm_load_ps(sums + 4)));
    sum = _mm_sub_ps(sum, _mm_mul_ps(dmin, least));
  }
  return across(sum);
}

/* Four bits and two more, at places in words of 16 bits. */
static inline __m128i six(__m128i low, __m128i high, int lowShift, int highShift) {
  __m128i four = _mm_and_si128(lowShift == 0 ? low : _mm_srli_epi16(low, lowShift), _mm_set1_epi16(15));
  __m128i two = highShift < 4 ? _mm_slli_epi16(high, 4 - highShift) : _mm_srli_epi16(high, highShift - 4);
  return _mm_or_si128(four, _mm_and_si128(two, _mm_set1_epi16(0x30)));
}

static float q6_row(const q6k *row, const vector *x) {
  __m128 sum = _mm_setzero_ps();
  for (int at = 0; at < BLOCKS; at++) {
    const q6k *block = &row[at];
    __m128 d = _mm_set1_ps(_cvtsh_ss(block->d)), scales[4];
    for (int i = 0; i < 4; i++) {
      int packed;
      memcpy(&packed, block->scales + 4 * i, 4);
      scales[i] = _mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(packed)));
    }
    const __m128i *v = (const __m128i *)(x->q6 + BLOCK * at);
    __m128 of = _mm_setzero_ps();
    for (int half = 0; half < 2; half++) {
      for (int part = 0; part < 4; part++) {
        for (int side = 0; side < 2; side++, v += 2) {
          __m128i low = _mm_loadu_si128((const __m128i *)(block->low + 64 * half + 32 * (part & 1) + 16 * side));
          __m128i high = _mm_loadu_si128((const __m128i *)(block->high + 32 * half + 16 * side));
          int nibble = part < 2 ? 0 : 4;
          __m128i dot = _mm_add_epi32(_mm_madd_epi16(six(low, high, nibble, 2 * part), v[0]),
                                      _mm_madd_epi16(six(low, high, nibble + 8, 2 * part + 8), v[1]));
          int scale = 8 * half + 2 * part + side;
          of = products(of, dot, scales[scale / 4], scale % 4);
        }
      }
    }
    __m128 offsets = _mm_setzero_ps();
    for (int i = 0; i < 4; i++)
      offsets = _mm_add_ps(offsets, _mm_mul_ps(scales[i], _mm_load_ps(x->sums16 + 16 * at + 4 * i)));
    of = _mm_sub_ps(of, _mm_mul_ps(_mm_set1_ps(32.0f), offsets));
    sum = _mm_add_ps(sum, _mm_mul_ps(d, of));
  }
  return across(sum);
}

static double q4_plain(const q4k *row, const vector *x) {
  double sum = 0;
  for (int i = 0; i < COLUMNS; i++) {
    const q4k *block = &row[i / BLOCK];
    int at = i % BLOCK, part = at / 32;
    uint32_t bytes[4];
    q4_scales(block->scales, bytes);
    const uint8_t *scales = (const uint8_t *)bytes;
    int byte = block->quants[32 * (part / 2) + at % 32], quant = part % 2 ? byte >> 4 : byte & 15;
    double weight = _cvtsh_ss(block->d) * scales[part] * quant - _cvtsh_ss(block->dmin) * scales[8 + part];
    sum += weight * x->plain[i];
  }
  return sum;
}

static double q6_plain(const q6k *row, const vector *x) {
  double sum = 0;
  for (int i = 0; i < COLUMNS; i++) {
    const q6k *block = &row[i / BLOCK];
    int at = i % BLOCK, half = at / 128, part = at % 128 / 32, in = at % 32;
    int byte = block->low[64 * half + 32 * (part & 1) + in];
    int quant = (part < 2 ? byte & 15 : byte >> 4) | ((block->high[32 * half + in] >> (2 * part)) & 3) << 4;
    sum += (double)_cvtsh_ss(block->d) * block->scales[at / 16] * (quant - 32) * x->plain[i];
  }
  return sum;
}

/* Even places of 16, then odd ones: as words of 16 bits hold them. */
static void by_words(int16_t *to, const int16_t *from) {
  for (int i = 0; i < 8; i++) {
    to[i] = from[2 * i];
    to[8 + i] = from[2 * i + 1];
  }
}

static void arrange(vector *x) {
  for (int at = 0; at < COLUMNS; at += 64)
    for (int half = 0; half < 2; half++)
      for (int part = 0; part < 2; part++)
        by_words(x->q4 + at + 32 * half + 16 * part, x->plain + at + 32 * part + 16 * half);
  for (int at = 0; at < COLUMNS; at += 16) by_words(x->q6 + at, x->plain + at);
  for (int i = 0; i < COLUMNS; i++) {
    x->sums32[i / 32] += x->plain[i];
    x->sums16[i / 16] += x->plain[i];
  }
}

static operands *made(void) {
  operands *made = calloc(1, sizeof(operands));
  if (!made) exit(1);
  uint8_t *bytes = (uint8_t *)made;
  uint32_t state = 1;
  for (size_t i = 0; i < sizeof made->q4 + sizeof made->q6; i++) bytes[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
  for (int row = 0; row < ROWS; row++)
    for (int at = 0; at < BLOCKS; at++) made->q4[row][at].d = made->q4[row][at].dmin = made->q6[row][at].d = 0x2c00;
  for (int i = 0; i < COLUMNS; i++) made->x.plain[i] = (int16_t)((int)((state = state * 1664525 + 1013904223) >> 17) - 16384);
  arrange(&made->x);
  return made;
}

static int differs(double found, double expected, double size) { return !(fabs(found - expected) <= 1e-5 * size); }

static void check(const operands *of) {
  const double size = 16384.0 * COLUMNS;
  for (int row = 0; row < ROWS; row++) {
    if (differs(q4_row(of->q4[row], &of->x), q4_plain(of->q4[row], &of->x), size)) exit(3);
    if (differs(q6_row(of->q6[row], &of->x), q6_plain(of->q6[row], &of->x), 128 * size)) exit(4);
  }
}

/* Weights a second, in 1e9. */
#define ROW_RATE(name, row_of, blocks)                                              \
  static double name(operands *of) {                                                \
    volatile float kept;                                                            \
    double begin = now();                                                           \
    for (int repeat = 0; repeat < REPEATS; repeat++)                                \
      for (int row = 0; row < ROWS; row++) kept = row_of(of->blocks[row], &of->x);  \
    (void)kept;                                                                     \
    return 1e-9 * ROWS * COLUMNS * (double)REPEATS / (now() - begin);               \
  }
ROW_RATE(q4_rate, q4_row, q4)
ROW_RATE(q6_rate, q6_row, q6)

static void *measure(void *argument) {
  static double (*const rates[3])(operands *) = {product_rate, q4_rate, q6_rate};
  long thread = (long)argument;
  operands *of = made();
  check(of);
  for (int turn = 0; turn < TURNS; turn++)
    for (int i = 0; i < 3; i++) {
      pthread_barrier_wait(&together);
      double rate = rates[i](of);
      if (rate > best[i][thread]) best[i][thread] = rate;
    }
  free(of);
  return NULL;
}

int main(int count, char **arguments) {
  int threads = count > 1 ? atoi(arguments[1]) : 1;
  if (threads < 1 || threads > MOST_THREADS) return 2;
  pthread_t ids[MOST_THREADS];
  pthread_barrier_init(&together, NULL, (unsigned)threads);
  for (long thread = 0; thread < threads; thread++)
    if (pthread_create(&ids[thread], NULL, measure, (void *)thread) != 0) return 1;
  double sums[3] = {0, 0, 0};
  for (int thread = 0; thread < threads; thread++) {
    pthread_join(ids[thread], NULL);
    for (int i = 0; i < 3; i++) sums[i] += best[i][thread];
  }
  printf("{ \"threads\": %d, \"productsGflops\": %.1f, \"q4KGweights\": %.2f, \"q6KGweights\": %.2f }\n", threads, sums[0], sums[1], sums[2]);
  return 0;
}
