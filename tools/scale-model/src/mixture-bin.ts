#!/usr/bin/env node
import { main } from "./mixture/command-line.js";

process.exitCode = await main(process.argv.slice(2), process);
