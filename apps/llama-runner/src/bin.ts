#!/usr/bin/env node
import { main } from "./llama-runner.js";

process.exitCode = await main(process.argv.slice(2), process);
