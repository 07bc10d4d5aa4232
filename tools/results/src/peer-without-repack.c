/*
 * For node-llama-cpp 3.22.1 in a memory group: llama.cpp copies weights into an order of its own where its kernels for the CPU have one, so that it
 * holds the whole model beside the mapped file, and the kernel kills it. llama.cpp's own programs have --no-repack for that; node-llama-cpp has no
 * such option. This library, loaded before it, answers for llama_model_default_params with use_extra_bufts off.
 *
 *     gcc -shared -fPIC -O2 -o peer-without-repack.so tools/results/src/peer-without-repack.c -ldl
 *     node tools/results/gguf-peers.mjs … --peer-preload peer-without-repack.so
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#define LIBRARY "libllama.v0.5.0.so"
/* Of llama_model_params in that release, read from its defaults: the third of the booleans at its end. */
#define USE_EXTRA_BUFTS 74

typedef struct {
  unsigned char bytes[80];
} model_params;

model_params llama_model_default_params(void) {
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_NOLOAD);
  model_params (*defaults)(void) = library ? (model_params(*)(void))dlsym(library, "llama_model_default_params") : NULL;
  if (!defaults) abort();
  model_params params = defaults();
  if (params.bytes[USE_EXTRA_BUFTS] != 1) abort();
  params.bytes[USE_EXTRA_BUFTS] = 0;
  return params;
}
