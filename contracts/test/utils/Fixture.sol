// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {OracleRegistry} from "../../src/OracleRegistry.sol";
import {ProviderRegistry} from "../../src/ProviderRegistry.sol";
import {SlaSettlement} from "../../src/SlaSettlement.sol";
import {TestToken} from "../../src/TestToken.sol";
import {IOracleRegistry} from "../../src/interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "../../src/interfaces/IProviderRegistry.sol";
import {ISlaSettlement, Report} from "../../src/interfaces/ISlaSettlement.sol";
import {ReportLib} from "../../src/libraries/ReportLib.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {MerkleTree} from "./MerkleTree.sol";
import {Test} from "./Test.sol";

/// A deployed protocol, and reports signed as the tests want them.
abstract contract Fixture is Test {
    uint64 internal constant GENESIS = 1_800_000_000;
    uint64 internal constant LENGTH = 25;
    uint64 internal constant VALID_EPOCHS = 3;
    uint64 internal constant REWARD_WINDOW = 10;
    uint64 internal constant SLASH_WINDOW = 20;
    uint256 internal constant BUDGET = 1_000e18;
    uint256 internal constant SLASH_CAP_PPM = 100_000;
    uint256 internal constant STAKE = 100e18;
    uint256 internal constant STAKE_PER_GIB = 1e18;
    uint64 internal constant UNBONDING = 1_000;
    uint64 internal constant EVIDENCE = 500;
    uint64 internal constant ROLL_CALL = 300;
    uint64 internal constant ESCAPE_DELAY = 7 days;
    address internal constant GUARDIAN = address(0x9a4d);
    bytes32 internal constant PARAMS = keccak256("params");
    uint256 internal constant RECEIPT_SECRET = 0xa11ce;

    TestToken internal token;
    OracleRegistry internal oracles;
    ProviderRegistry internal providers;
    SlaSettlement internal settlement;

    function deploy() internal {
        vm.warp(GENESIS);
        token = new TestToken();
        oracles = new OracleRegistry(token, 1e18, 0, oracleTerms());
        providers = new ProviderRegistry(token, 1e18, providerTerms());
        settlement = newSettlement();
        oracles.setSettlement(address(settlement));
        providers.setSettlement(address(settlement));
        token.mint(address(this), type(uint128).max);
        token.approve(address(oracles), type(uint256).max);
        token.approve(address(providers), type(uint256).max);
        token.approve(address(settlement), type(uint256).max);
    }

    function newSettlement() internal virtual returns (SlaSettlement) {
        return new SlaSettlement(config(), roles());
    }

    function config() internal view virtual returns (ISlaSettlement.Config memory) {
        return ISlaSettlement.Config({
            token: address(token),
            oracleRegistry: address(oracles),
            providerRegistry: address(providers),
            genesis: GENESIS,
            epochLength: LENGTH,
            validEpochs: VALID_EPOCHS,
            rewardWindow: REWARD_WINDOW,
            slashWindow: SLASH_WINDOW,
            epochBudget: BUDGET,
            slashCapPpm: SLASH_CAP_PPM,
            paramsHash: PARAMS
        });
    }

    /// One operator registers all oracles here, so there is no cap.
    function oracleTerms() internal pure returns (IOracleRegistry.Terms memory) {
        return IOracleRegistry.Terms(UNBONDING, EVIDENCE, ROLL_CALL, 1_000_000);
    }

    function providerTerms() internal pure returns (IProviderRegistry.Terms memory) {
        IProviderRegistry.ClassStake[] memory classes = new IProviderRegistry.ClassStake[](1);
        classes[0] = IProviderRegistry.ClassStake(100, STAKE_PER_GIB);
        return IProviderRegistry.Terms(UNBONDING, EVIDENCE, classes);
    }

    /// The test is the owner.
    function roles() internal view returns (ISlaSettlement.Roles memory) {
        return ISlaSettlement.Roles({owner: address(this), guardian: GUARDIAN, escapeDelay: ESCAPE_DELAY});
    }

    /// Registers oracles with secrets 0..n-1 and makes them the current set.
    function deployWithCommittee(uint256 n) internal {
        deploy();
        for (uint256 i = 0; i < n; ++i) {
            registerOracle(i, STAKE);
        }
        while (!oracles.buildSnapshot(96)) {}
    }

    function registerOracle(uint256 index, uint256 stake) internal returns (uint64) {
        uint256 sk = BlsSigner.secret(index);
        bytes memory key = BlsSigner.publicKey(sk);
        bytes memory pop = BlsSigner.sign(sk, oracles.popMessage(address(this), key), BlsSigner.POP_DST);
        return oracles.register(key, pop, "http://oracle", address(0x7a), address(0x7b), 1, stake);
    }

    function registerProvider() internal returns (uint64) {
        return providers.register(vm.addr(RECEIPT_SECRET), "http://provider", 100, 7, address(0x9d), STAKE);
    }

    function report(uint64 epoch) internal view returns (Report memory r) {
        r.chainId = block.chainid;
        r.settlement = address(settlement);
        r.setEpoch = oracles.currentSet();
        r.epoch = epoch;
        r.refBlock = 1;
        r.validUntil = validUntil(epoch);
        r.drandRound = 1;
        r.seedSecure = true;
        r.paramsHash = PARAMS;
        r.bitVotesRoot = keccak256("bitVotes");
        r.obsRoot = keccak256("obs");
        r.resultRoot = keccak256("result");
        r.rewardRoot = keccak256("reward");
        r.slashRoot = keccak256("slash");
        r.rewardTotal = 10e18;
        r.slashTotal = 1e18;
        r.logHeadsRoot = keccak256("logHeads");
        r.dataDigest = keccak256("data");
    }

    function endOf(uint64 epoch) internal pure returns (uint64) {
        return GENESIS + (epoch + 1) * LENGTH;
    }

    function validUntil(uint64 epoch) internal pure returns (uint64) {
        return endOf(epoch) + VALID_EPOCHS * LENGTH;
    }

    function digestOf(Report memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(r));
    }

    /// What acceptedReport and lastAccepted return of a digest.
    function stored(bytes32 digest) internal pure returns (bytes32) {
        return bytes32(bytes28(digest));
    }

    function messageOf(Report memory r) internal view returns (bytes32) {
        return keccak256(abi.encode(keccak256("assay.report.v1"), block.chainid, address(settlement), r.epoch, r.view_, digestOf(r)));
    }

    /// The aggregate of the oracles in the bitmap.
    function signReport(Report memory r, uint256 bitmap) internal view returns (bytes memory) {
        return BlsSigner.sign(BlsSigner.sumOfSecrets(256, bitmap), messageOf(r), BlsSigner.REPORT_DST);
    }

    function submit(Report memory r, uint256 bitmap) internal {
        bytes memory signature = signReport(r, bitmap);
        settlement.submitReport(r, bitmap, signature);
    }

    /// For submissions that must fail with exactly this.
    function submitExpecting(Report memory r, uint256 bitmap, bytes memory failure) internal {
        bytes memory signature = signReport(r, bitmap);
        vm.expectRevert(failure);
        settlement.submitReport(r, bitmap, signature);
    }

    struct Reward {
        uint8 kind;
        uint64 id;
        address recipient;
        uint256 cumulative;
    }

    function rewardLeaf(Reward memory w) internal view returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(w.kind, w.id, w.recipient, address(token), w.cumulative))));
    }

    function rewardTree(Reward[] memory rewards) internal view returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](rewards.length);
        for (uint256 i = 0; i < rewards.length; ++i) {
            leaves[i] = rewardLeaf(rewards[i]);
        }
        return MerkleTree.build(leaves);
    }

    function claim(Report memory r, bytes32[] memory tree, Reward memory w) internal {
        settlement.claim(r, w.kind, w.id, w.recipient, w.cumulative, MerkleTree.proof(tree, rewardLeaf(w)));
    }

    function slashLeaf(uint64 providerId, uint64 epoch, uint256 amount) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(providerId, epoch, uint8(1), bytes32("facts"), amount))));
    }
}
