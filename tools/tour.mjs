// Runs the README's tour as it stands there: every `sh` block of the section "Five minutes", in order, in one shell.
import { readFileSync } from "node:fs";
import { spawn } from "node:child_process";

const section = readFileSync("README.md", "utf8").split(/^## /m).find((part) => part.startsWith("Five minutes"));
if (!section) throw new Error('README.md has no section "Five minutes"');
const blocks = [...section.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1]);
if (blocks.length === 0) throw new Error("the tour has no commands");
const script = ["set -euo pipefail", 'trap \'kill $(jobs -p) 2>/dev/null || true\' EXIT', "set -x", ...blocks].join("\n");
const shell = spawn("bash", ["-c", script], { stdio: ["ignore", "inherit", "inherit"] });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => shell.kill(signal));
shell.on("exit", (code) => {
  console.log(code === 0 ? "the tour is as the README says" : `the tour failed with code ${code}`);
  process.exit(code ?? 1);
});
