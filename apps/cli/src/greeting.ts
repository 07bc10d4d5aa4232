/** What the program says of itself where nothing is asked of it. */
export const GREETING = `flashwick runs language models larger than memory: the weights stay on flash, and each token reads only what it needs.

Begin with
  flashwick demo                 a small bundled model, in less memory than its file
  flashwick chat <model.gguf>    talk to a GGUF file of llama.cpp, as it was downloaded
  flashwick doctor               what this machine can do

flashwick --help lists every command, and flashwick <command> --help explains one.
`;
