// Deploys the example to a real chain with the real scripts, checks it, then breaks one thing at a time: the checker must name it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { check, deploy } from "./deployment.mjs";

const DEPLOYER_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"; // anvil's first account
const DEPLOYER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const STRANGER = "0x00000000000000000000000000000000000000aa";
const GENESIS_AHEAD_S = 3600;
const RECEIPT_MS = 30_000;
const POLL_MS = 20;

const deployments = fileURLToPath(new URL("../contracts/deployments/", import.meta.url));
const folder = `test-${process.pid}`;

function startAnvil() {
  const anvil = spawn(fileURLToPath(new URL("../node_modules/.bin/anvil", import.meta.url)), ["--port", "0", "--hardfork", "prague"]);
  let text = "";
  return new Promise((resolve, reject) => {
    anvil.on("error", reject).on("exit", () => reject(new Error(`anvil did not start: ${text}`)));
    // To its end: anvil would wait for whoever reads no further.
    anvil.stdout.setEncoding("utf8").on("data", (part) => {
      text += part;
      const listening = /Listening on (\S+)/.exec(text);
      if (listening) resolve({ anvil, url: `http://${listening[1]}` });
    });
  });
}

async function rpc(url, method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await (await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })).json();
  if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
  return answer.result;
}

// Calldata of a function whose arguments all take one word.
function calldata(signature, ...words) {
  const selector = Buffer.from(keccak_256(Buffer.from(signature)).slice(0, 4)).toString("hex");
  return `0x${selector}${words.map((word) => BigInt(word).toString(16).padStart(64, "0")).join("")}`;
}

async function sendAs(url, from, to, data) {
  await rpc(url, "anvil_setBalance", from, "0xde0b6b3a7640000");
  await rpc(url, "anvil_impersonateAccount", from);
  const hash = await rpc(url, "eth_sendTransaction", { from, to, data });
  let receipt = null;
  for (const until = Date.now() + RECEIPT_MS; receipt === null && Date.now() < until; await setTimeout(POLL_MS)) {
    receipt = await rpc(url, "eth_getTransactionReceipt", hash);
  }
  if (receipt?.status !== "0x1") throw new Error(`reverted: ${data}`);
}

function write(name, value) {
  writeFileSync(`${deployments}${folder}/${name}`, JSON.stringify(value));
  return `${folder}/${name}`;
}

function expect(holds, what, text) {
  if (!holds) throw new Error(`${what}\n${text}`);
  console.log(`✓ ${what}`);
}

// What each break does to the chain, or to the book that the checker is given, and the line that must turn red.
function breaks(url, book) {
  const address = (name) => book.contracts[name].address;
  const timelock = address("TimelockController");
  const governed = (name, ...call) => sendAs(url, timelock, address(name), calldata(...call));
  const proposer = `0x${Buffer.from(keccak_256(Buffer.from("PROPOSER_ROLE"))).toString("hex")}`;
  return [
    ["another owner", "CapacityMarket: the timelock owns it", () => governed("CapacityMarket", "transferOwnership(address)", STRANGER)],
    ["a pending owner", "SlaSettlement: no owner is pending", () => governed("SlaSettlement", "transferOwnership(address)", STRANGER)],
    ["a court missing", "SeedCourt: the settlement allows it", () => governed("SlaSettlement", "setCourt(address,bool)", address("SeedCourt"), 0)],
    ["a court too many", "SlaSettlement: allows no court beyond the book", () => governed("SlaSettlement", "setCourt(address,bool)", STRANGER, 1)],
    ["another guardian", "SlaSettlement: guardian is the parameters'", () => governed("SlaSettlement", "setGuardian(address)", STRANGER)],
    ["a second proposer", "TimelockController: nobody else has a role", () => governed("TimelockController", "grantRole(bytes32,address)", proposer, STRANGER)],
    ["a shorter delay", "TimelockController: delay is the parameters'", () => governed("TimelockController", "updateDelay(uint256)", 1)],
    ["other bytecode", "SlaOracle: code is what the book says", async () => {
      await swapCode(url, address("SlaOracle"));
    }],
    ["other bytecode, and a book that agrees", "SlaOracle: code and immutables are those of these sources", async () => {
      const codeHash = await swapCode(url, address("SlaOracle"));
      return { ...book, contracts: { ...book.contracts, SlaOracle: { ...book.contracts.SlaOracle, codeHash } } };
    }],
    ["another beacon", "SeedCourt: the beacon's key is the parameters'", () => swapBeacon(url, address("SeedCourt"))],
    ["other parameters", "SlaSettlement: constructor arguments are the parameters'", () => {
      const settlement = { ...book.parameters.settlement, rewardWindow: book.parameters.settlement.rewardWindow + 1 };
      return { ...book, parameters: { ...book.parameters, settlement } };
    }],
  ];
}

// Flips the last bit of a contract's code; returns the hash of what is there then.
async function swapCode(url, address) {
  const code = Buffer.from((await rpc(url, "eth_getCode", address, "latest")).slice(2), "hex");
  code[code.length - 1] ^= 1;
  await rpc(url, "anvil_setCode", address, `0x${code.toString("hex")}`);
  return `0x${Buffer.from(keccak_256(code)).toString("hex")}`;
}

// The key's second word: bytes longer than 31 lie from the hash of their slot on. Found by its content.
async function swapBeacon(url, court) {
  for (let slot = 0; slot < 16; slot++) {
    const data = BigInt(`0x${Buffer.from(keccak_256(Buffer.from(slot.toString(16).padStart(64, "0"), "hex"))).toString("hex")}`) + 1n;
    const at = `0x${data.toString(16).padStart(64, "0")}`;
    if (BigInt(await rpc(url, "eth_getStorageAt", court, at, "latest")) === 0n) continue;
    await rpc(url, "anvil_setStorageAt", court, at, `0x${"11".repeat(32)}`);
    return;
  }
  throw new Error("the beacon's key was not found");
}

async function run(url) {
  const parameters = JSON.parse(readFileSync(`${deployments}devnet.example.json`, "utf8"));
  const { timestamp } = await rpc(url, "eth_getBlockByNumber", "latest", false);
  parameters.settlement.genesis = Number(timestamp) + GENESIS_AHEAD_S;
  const chain = ["--rpc-url", url, "--private-key", DEPLOYER_KEY];

  const late = write("late.json", { ...parameters, settlement: { ...parameters.settlement, genesis: Number(timestamp) } });
  const refused = await deploy(late, `${folder}/none.json`, chain);
  expect(refused.code !== 0 && refused.text.includes("less than one epoch ahead"), "a genesis that is not ahead is refused", refused.text);
  const misspelt = write("misspelt.json", { ...parameters, gaurdian: STRANGER });
  const unknown = await deploy(misspelt, `${folder}/none.json`, chain);
  expect(unknown.code !== 0 && unknown.text.includes("UnknownKeys"), "an unknown key is refused", unknown.text);
  const example = await deploy("mainnet.example.json", `${folder}/none.json`, chain);
  const isRefused = example.code !== 0 && example.text.includes("chainId is not that of the RPC") && example.text.includes("token is no contract");
  expect(isRefused, "the mainnet example is refused elsewhere", example.text);
  expect(Number(await rpc(url, "eth_getTransactionCount", DEPLOYER, "latest")) === 0, "refused before anything was sent", "");

  const deployed = await deploy(write("parameters.json", parameters), `${folder}/book.json`, chain);
  expect(deployed.code === 0, "deploys", deployed.text);
  const book = JSON.parse(readFileSync(`${deployments}${folder}/book.json`, "utf8"));
  const good = await check(`${folder}/book.json`, ["--rpc-url", url]);
  expect(good.code === 0 && !good.text.includes("✗"), `the checker agrees (${good.text.split("✓").length - 1} checks)`, good.text);

  for (const [what, line, breakIt] of breaks(url, book)) {
    const snapshot = await rpc(url, "evm_snapshot");
    const changed = await breakIt();
    const checked = await check(changed ? write("changed.json", changed) : `${folder}/book.json`, ["--rpc-url", url]);
    expect(checked.code === 1 && checked.text.includes(`✗ ${line}`), `the checker finds ${what}`, checked.text);
    await rpc(url, "evm_revert", snapshot);
  }
}

mkdirSync(`${deployments}${folder}`);
const { anvil, url } = await startAnvil();
try {
  await run(url);
} finally {
  const ended = anvil.exitCode === null && once(anvil, "exit");
  anvil.kill();
  await ended;
  rmSync(`${deployments}${folder}`, { recursive: true });
}
