// Deploys the contracts, or checks a deployment, through forge. Paths are relative to contracts/deployments, the one folder that the
// scripts may read and write.
//
//   node tools/deployment.mjs deploy <parameters.json> <book.json> <arguments of forge script: --rpc-url …, --account …>
//   node tools/deployment.mjs check <book.json> --rpc-url …
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const contracts = fileURLToPath(new URL("../contracts/", import.meta.url));
const forge = fileURLToPath(new URL("../node_modules/.bin/forge", import.meta.url));

// Resolves to the exit code and all output, which `onText` gets as it comes.
function script(name, variables, forgeArguments, onText) {
  const environment = { ...process.env, ...variables, FOUNDRY_PROFILE: "script", FOUNDRY_DISABLE_NIGHTLY_WARNING: "1" };
  const child = spawn(forge, ["script", `script/${name}.s.sol:${name}`, ...forgeArguments], { cwd: contracts, env: environment });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part) => {
      text += part;
      onText(part);
    });
  }
  return new Promise((resolve, reject) => child.on("error", reject).on("close", (code) => resolve({ code, text })));
}

export function deploy(parameters, book, forgeArguments, onText = () => {}) {
  const variables = { PARAMETERS: `deployments/${parameters}`, BOOK: `deployments/${book}` };
  return script("Deploy", variables, ["--broadcast", ...forgeArguments], onText);
}

export function check(book, forgeArguments, onText = () => {}) {
  return script("Check", { BOOK: `deployments/${book}` }, forgeArguments, onText);
}

// Prints what forge says, line by line, but for its traces; a finding a line.
function printer() {
  let rest = "";
  let isTrace = false;
  const show = (line) => {
    if (line.startsWith("Traces:")) isTrace = true;
    else if (line.startsWith("Error:") || line.startsWith("== Logs ==")) isTrace = false;
    if (!isTrace) console.log(line.replaceAll("\\n", "\n"));
  };
  return {
    write(text) {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      lines.forEach(show);
    },
    // The last line may end without a newline.
    end() {
      if (rest !== "") show(rest);
    },
  };
}

async function main([command, ...rest]) {
  const { write, end } = printer();
  const ran = async (run) => {
    const { code } = await run;
    end();
    return code;
  };
  if (command === "deploy" && rest.length >= 2) return ran(deploy(rest[0], rest[1], rest.slice(2), write));
  if (command === "check" && rest.length >= 1) return ran(check(rest[0], rest.slice(1), write));
  console.error("usage: deployment.mjs deploy <parameters.json> <book.json> --rpc-url …, or deployment.mjs check <book.json> --rpc-url …");
  return 2;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
