// Copies ABI and creation bytecode from forge's output to contracts-bindings/abi. `--check` writes nothing and fails when what
// is committed is not what the sources give.
import { readFileSync, writeFileSync } from "node:fs";

const contracts = [
  "AggregationCourt",
  "CapacityMarket",
  "EquivocationCourt",
  "Keeper",
  "OracleRegistry",
  "ProviderRegistry",
  "ProviderStanding",
  "SignersCourt",
  "SlaOracle",
  "SlaSettlement",
  "TestToken",
];
let differing = 0;
for (const name of contracts) {
  const built = JSON.parse(readFileSync(new URL(`../contracts/out/${name}.sol/${name}.json`, import.meta.url)));
  const text = JSON.stringify({ abi: built.abi, bytecode: built.bytecode.object }, null, 2) + "\n";
  const committed = new URL(`../contracts-bindings/abi/${name}.json`, import.meta.url);
  if (!process.argv.includes("--check")) {
    writeFileSync(committed, text);
  } else if (readFileSync(committed, "utf8") !== text) {
    console.error(`contracts-bindings/abi/${name}.json is not what contracts/src gives: run npm run contracts:export`);
    differing++;
  }
}
process.exitCode = differing ? 1 : 0;
