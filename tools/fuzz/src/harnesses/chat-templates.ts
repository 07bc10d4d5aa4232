/** Chat templates: Jinja that comes with a model, over a conversation. */
import { ChatTemplate } from "@flashwick/runtime";
import { BrokenPromise, bytesOf, type Harness, textOf } from "../harness.js";

const MiB = 2 ** 20;
/** Characters that a rendered prompt may have: the template's own bound. */
const MOST_CHARACTERS = 4 * MiB;

const TEMPLATES = [
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
  "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
  "{% set ns = namespace(n=0, text='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.text = ns.text ~ m.content | trim | upper %}{% if ns.n > 3 %}{% break %}{% endif %}{% endfor %}{{ ns.text }}{{ strftime_now('%d %b %Y') }}{{ range(5) | join(', ') }}",
  "{% macro f(x, y=2) %}{{ x | tojson(indent=2) }}{{ y }}{% if y > 0 %}{{ f(x, y - 1) }}{% endif %}{% endmacro %}{{ f({'a': [1, 2.5, none, true], 'b': tools}) }}",
  "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }} {{ m.content.split(' ')[0].replace('H', 'h') }}{% else %}none{% endfor %}{{ messages | map(attribute='role') | join('|') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ [3,1,2] | sort | reverse | first }}{{ 'x' * 3 if true else 7 // 2 }}{%- filter upper -%} a {%- endfilter -%}",
];

const WORDS = [
  ...[
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{%- ",
    "-%}",
    "{# ",
    " #}",
    "for x in messages",
    "for i in range(65536)",
    "endfor",
    "if ",
    "elif ",
    "else",
    "endif",
  ],
  ...[
    "set ",
    "endset",
    "macro f(x)",
    "endmacro",
    "call f()",
    "endcall",
    "filter upper",
    "endfilter",
    "break",
    "continue",
    "namespace(n=1)",
    "ns.n",
  ],
  ...[
    "messages",
    "message",
    "tools",
    "loop.index",
    "raise_exception('x')",
    "strftime_now('%Y')",
    "range(100000)",
    "range(0,1,0)",
    "bos_token",
    "| tojson",
  ],
  ...[
    "| join('')",
    "| replace('a','aaaa')",
    "| sort",
    "| map(attribute='a')",
    "| selectattr('a')",
    "| list",
    "| length",
    "| indent(4)",
    "| items",
    "| default(x)",
  ],
  ...[
    ".split('')",
    ".upper()",
    ".strip()",
    ".items()",
    ".keys()",
    ".__class__",
    ".constructor",
    "['__proto__']",
    "[::-1]",
    "[1:]",
    "is defined",
    "is none",
    "in",
    "not",
  ],
  ...[
    "and",
    "or",
    "~",
    "+",
    "*",
    "//",
    "%",
    "**",
    "==",
    "'a'",
    "1e99",
    "99999999999",
    "{'a': 1}",
    "[1, 2]",
    "(",
    ")",
    "f(f)",
    "none",
    "true",
    "x",
  ],
];

/** A template, rendered over two conversations. */
export const chatTemplate: Harness = {
  name: "chat-template",
  form: "bytes",
  words: WORDS,
  maxBytes: 4096,
  // About a second is what a template may take; a machine that is at something else takes longer.
  limits: { ms: 5000, growthBytes: 512 * MiB },
  seeds: async () => TEMPLATES.map(bytesOf),
  read(input) {
    const template = new ChatTemplate(textOf(input), {
      fileName: "model.gguf",
      bosToken: "<s>",
      eosToken: "</s>",
      now: () => new Date(0),
    });
    const call = { id: "1", type: "function", function: { name: "f", arguments: { a: [1, { b: null }] } } };
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hello {{ 7 * 7 }}" },
      { role: "assistant", content: "", extra: { tool_calls: [call] } },
    ];
    const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }];
    const prompt: unknown = template.render(messages, { addGenerationPrompt: true, tools });
    if (typeof prompt !== "string" || prompt.length > MOST_CHARACTERS)
      throw new BrokenPromise("a prompt that is none, or too long");
    template.render([]);
  },
};
