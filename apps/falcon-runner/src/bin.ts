#!/usr/bin/env node
import { main } from "./falcon-runner.js";

process.exitCode = await main(process.argv.slice(2), process);
