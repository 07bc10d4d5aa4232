/** What a Prometheus server reads of this one. The registry is the server's own: several servers in a process do not mix. */
import type { ServedSummary, TextScheduler } from "@flashwick/runtime";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Seconds. From a small model in DRAM, a millisecond a token, to one that reads most of itself for each. */
const TOKEN_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const FIRST_TOKEN_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** What a server counts, for Prometheus. */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #requests = this.#counter("requests_total", "Requests, by route and status.", ["route", "status"]);
  readonly #promptTokens = this.#counter("prompt_tokens_total", "Tokens of prompts.");
  readonly #reusedTokens = this.#counter("prompt_tokens_reused_total", "Tokens of prompts that were computed before.");
  readonly #tokens = this.#counter("tokens_total", "Tokens generated.");
  readonly #flashBytes = this.#counter("flash_bytes_total", "Bytes read from flash for texts that ended.");
  readonly #hits = this.#counter("cache_hits_total", "Neurons or experts found in DRAM, of texts that ended.");
  readonly #misses = this.#counter("cache_misses_total", "Neurons or experts read from flash, of texts that ended.");
  readonly #tokenSeconds = this.#histogram("token_seconds", "Time to each further token of a text.", TOKEN_BUCKETS);
  readonly #firstTokenSeconds = this.#histogram(
    "first_token_seconds",
    "Time from a request to the first token of each of its texts, the queue included.",
    FIRST_TOKEN_BUCKETS,
  );

  /** @param replicaId Labels every figure, where several servers share a load. */
  constructor(scheduler: Pick<TextScheduler, "load">, replicaId: string | null) {
    if (replicaId !== null) this.#registry.setDefaultLabels({ replica: replicaId });
    this.#gauge("texts_running", "Texts that are generated now.", () => scheduler.load.running);
    this.#gauge("texts_waiting", "Texts in the queue.", () => scheduler.load.waiting);
    this.#gauge("sequences", "Texts that may be generated at once.", () => scheduler.load.sequences);
  }

  /** Of the text that Prometheus reads. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All figures, in Prometheus's text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /**
   * Counts an answered request.
   *
   * @param route As it is declared, never as it was asked for: whoever asks cannot make new series.
   */
  countRequest(route: string, status: number): void {
    this.#requests.inc({ route, status: String(status) });
  }

  /**
   * Counts a token.
   *
   * @param ms Since the request, for the first token of a text; since it was asked for, for each further one.
   */
  countToken(isFirst: boolean, ms: number): void {
    this.#tokens.inc();
    (isFirst ? this.#firstTokenSeconds : this.#tokenSeconds).observe(ms / 1000);
  }

  /** A text that has come to its end. Those that were cut short have no summary. */
  countText({ promptTokens, reusedTokens, flashBytes, hits, misses }: ServedSummary): void {
    this.#promptTokens.inc(promptTokens);
    this.#reusedTokens.inc(reusedTokens);
    this.#flashBytes.inc(flashBytes);
    this.#hits.inc(hits);
    this.#misses.inc(misses);
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `flashwick_${name}`, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: `flashwick_${name}`, help, buckets, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, value: () => number): void {
    const gauge: Gauge = new Gauge({
      name: `flashwick_${name}`,
      help,
      registers: [this.#registry],
      collect: () => gauge.set(value()),
    });
  }
}
