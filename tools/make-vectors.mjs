// Writes tests/vectors/*.json from libraries that share no code with ours: noble for the curves and hashes, OpenZeppelin's
// merkle-tree for the trees, and an ABI encoder of a few lines. Same bytes every time. `--check` writes nothing and fails on
// a difference.
import { readFileSync, writeFileSync } from "node:fs";
import { bls12_381 as bls } from "@noble/curves/bls12-381.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import merkle from "@openzeppelin/merkle-tree";

const { StandardMerkleTree } = merkle;
const { G1, G2, fields } = bls;
const directory = new URL("../tests/vectors/", import.meta.url);
const suite = "BLS12381G1_XMD:SHA-256_SSWU_RO_";

// ---- bytes

const hex = (bytes) => "0x" + bytesToHex(bytes);
const bytes = (text) => hexToBytes(text.replace(/^0x/, ""));
const bigEndian = (value, length) => hexToBytes(BigInt(value).toString(16).padStart(2 * length, "0"));
const keccak = (...parts) => keccak_256(concatBytes(...parts));
const tag = (text) => hex(keccak(utf8ToBytes(text)));
/** abi.encode of static values: numbers, booleans, and hex strings of 20 bytes (addresses) or 32. */
const abi = (...values) =>
  concatBytes(...values.map((v) => bigEndian(typeof v === "boolean" ? Number(v) : v, 32)));
/** A deterministic scalar or key for a label. */
const drawn = (label, order) => (BigInt(tag(label)) % (order - 1n)) + 1n;
const address = (label) => hex(keccak(utf8ToBytes(label)).slice(12));

// ---- points in the padded form of EIP-2537

const element = (value) => bigEndian(value, 64);
const g1Padded = (point) => {
  const { x, y } = point.toAffine();
  return concatBytes(element(x), element(y));
};
const g2Padded = (point) => {
  const { x, y } = point.toAffine();
  return concatBytes(element(x.c0), element(x.c1), element(y.c0), element(y.c1));
};
const hashToG1 = (message, dst) => G1.hashToCurve(message, { DST: dst });
const sign = (secret, digest, purpose) => hashToG1(digest, `ASSAY-V1-${purpose}_${suite}`).multiply(secret);

// ---- files

function rfc9380() {
  const dst = `QUUX-V01-CS02-with-${suite}`;
  const messages = ["", "abc", "abcdef0123456789", "q128_" + "q".repeat(128), "a512_" + "a".repeat(512)];
  return {
    source: "RFC 9380, appendix J.9.1: BLS12381G1_XMD:SHA-256_SSWU_RO_",
    dst,
    vectors: messages.map((message) => ({ message, point128: hex(g1Padded(hashToG1(utf8ToBytes(message), dst))) })),
  };
}

function curvePoints() {
  const { Fp, Fp2 } = fields;
  const outsideSubgroup = (field, b, make) => {
    for (let x = 1n; ; x++) {
      const element_ = make(x);
      const square = field.add(field.mul(field.sqr(element_), element_), b);
      try {
        const y = field.sqrt(square);
        return [element_, y];
      } catch {
        // no such point: try the next x
      }
    }
  };
  const [x1, y1] = outsideSubgroup(Fp, 4n, (x) => x);
  const [x2, y2] = outsideSubgroup(Fp2, Fp2.fromBigTuple([4n, 4n]), (x) => Fp2.fromBigTuple([x, 0n]));
  if (G1.Point.fromAffine({ x: x1, y: y1 }).isTorsionFree() || G2.Point.fromAffine({ x: x2, y: y2 }).isTorsionFree()) {
    throw new Error("these points are in the subgroup after all");
  }
  const g2 = (x, y) => hex(concatBytes(element(x.c0), element(x.c1), element(y.c0), element(y.c1)));
  return {
    g1: {
      wrongSubgroup: hex(concatBytes(element(x1), element(y1))),
      offCurve: hex(concatBytes(element(x1), element(Fp.add(y1, 1n)))),
    },
    g2: { wrongSubgroup: g2(x2, y2), offCurve: g2(x2, Fp2.add(y2, Fp2.ONE)) },
  };
}

const REPORT_FIELDS = [
  "chainId", "settlement", "setEpoch", "epoch", "view", "parentDigest", "refBlock", "validUntil", "drandRound", "seedSecure",
  "paramsHash", "bitVotesRoot", "obsRoot", "resultRoot", "rewardRoot", "slashRoot", "rewardTotal", "slashTotal",
  "logHeadsRoot", "dataDigest",
];

const withProofs = (tree, names) => {
  const entries = [...tree.entries()];
  return {
    leaves: entries.map(([, value]) => Object.fromEntries(names.map((name, i) => [name, value[i]]))),
    root: tree.root,
    proofs: entries.map(([i]) => tree.getProof(i)),
  };
};

function report() {
  const chainId = 31337;
  const [settlement, registry, providerRegistry, token, operator] =
    ["settlement", "oracle registry", "provider registry", "token", "operator"].map((name) => address(`vector ${name}`));

  const rewardTree = StandardMerkleTree.of(
    [0, 0, 0, 1, 1, 1, 1].map((kind, i) => [
      kind, kind ? i - 2 : i + 1, address(`vector recipient ${i}`), token, String(10n ** 18n * BigInt(i + 1) + BigInt(i)),
    ]),
    ["uint8", "uint64", "address", "address", "uint256"],
  );
  const epoch = 41;
  const slashTree = StandardMerkleTree.of(
    [1, 2, 3].map((id) => [id, epoch, id === 3 ? 2 : 1, tag(`vector facts ${id}`), String(5n * 10n ** 17n + BigInt(id))]),
    ["uint64", "uint64", "uint8", "bytes32", "uint256"],
  );

  const fieldsOfReport = {
    chainId, settlement, setEpoch: 7, epoch, view: 2,
    parentDigest: tag("vector parent"),
    refBlock: 123456, validUntil: 1800001125, drandRound: 987654321, seedSecure: true,
    paramsHash: tag("vector params"), bitVotesRoot: tag("vector bit-votes"), obsRoot: tag("vector observations"),
    resultRoot: tag("vector results"), rewardRoot: rewardTree.root, slashRoot: slashTree.root,
    rewardTotal: "28000000000000000021", slashTotal: "1500000000000000006",
    logHeadsRoot: tag("vector log heads"), dataDigest: tag("vector data"),
  };
  const digest = keccak(abi(...REPORT_FIELDS.map((name) => fieldsOfReport[name])));
  const message = keccak(abi(tag("assay.report.v1"), chainId, settlement, epoch, fieldsOfReport.view, hex(digest)));

  const secrets = [0, 1, 2, 3].map((i) => drawn(`vector oracle ${i}`, fields.Fr.ORDER));
  const signatures = secrets.map((secret) => sign(secret, message, "REPORT"));
  const keys = secrets.map((secret) => G2.Point.BASE.multiply(secret));

  const popMessage = keccak(abi(tag("assay.pop.v1"), chainId, registry, operator, hex(keccak(g2Padded(keys[0])))));

  const receiptSecret = bigEndian(drawn("vector receipt key", secp256k1.Point.Fn.ORDER), 32);
  const claims = { registry: providerRegistry, providerId: 9, sequence: 3, root: tag("vector claims"), blocks: 1234, count: 17 };
  const claimsDigest = keccak(
    abi(tag("assay.claims.v1"), chainId, claims.registry, claims.providerId, claims.sequence, claims.root, claims.blocks, claims.count),
  );

  return {
    report: fieldsOfReport,
    digest: hex(digest),
    message: hex(message),
    signers: secrets.map((secret, i) => ({
      secret: hex(bigEndian(secret, 32)),
      publicKey256: hex(g2Padded(keys[i])),
      publicKey96: hex(keys[i].toBytes(true)),
      signature48: hex(signatures[i].toBytes(true)),
    })),
    aggregateSignature128: hex(g1Padded(signatures.reduce((sum, point) => sum.add(point)))),
    pop: { chainId, registry, operator, message: hex(popMessage), signature128: hex(g1Padded(sign(secrets[0], popMessage, "POP"))) },
    rewardTree: withProofs(rewardTree, ["kind", "id", "recipient", "token", "cumulative"]),
    slashTree: withProofs(slashTree, ["providerId", "epoch", "reason", "factsRoot", "amount"]),
    claims: {
      receiptSecret: hex(receiptSecret),
      receiptKey: ethereumAddress(receiptSecret),
      ...claims,
      digest: hex(claimsDigest),
      signature65: hex(signDigest(claimsDigest, receiptSecret)),
    },
  };
}

const ethereumAddress = (secret) => hex(keccak(secp256k1.getPublicKey(secret, false).slice(1)).slice(12));

/** r || s || v with low s and v 27 or 28, over the raw digest. */
function signDigest(digest, secret) {
  const [recovery, ...compact] = secp256k1.sign(digest, secret, { prehash: false, lowS: true, format: "recovered" });
  return Uint8Array.from([...compact, 27 + recovery]);
}

const files = { "rfc9380_g1.json": rfc9380(), "curve_points.json": curvePoints(), "report.json": report() };
let differing = 0;
for (const [name, content] of Object.entries(files)) {
  const text = JSON.stringify(content, null, 2) + "\n";
  if (!process.argv.includes("--check")) {
    writeFileSync(new URL(name, directory), text);
  } else if (readFileSync(new URL(name, directory), "utf8") !== text) {
    console.error(`tests/vectors/${name} differs from what npm run vectors makes`);
    differing++;
  }
}
process.exitCode = differing ? 1 : 0;
