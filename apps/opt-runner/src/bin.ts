#!/usr/bin/env node
import { main } from "./opt-runner.js";

process.exitCode = await main(process.argv.slice(2), process);
