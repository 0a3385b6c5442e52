// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SignersCourt} from "../../src/courts/SignersCourt.sol";
import {IDisputeCourt} from "../../src/interfaces/IDisputeCourt.sol";
import {Report} from "../../src/interfaces/ISlaSettlement.sol";
import {Statements} from "../../src/libraries/Statements.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {Fixture} from "./Fixture.sol";
import {MerkleTree} from "./MerkleTree.sol";

/// A committee of four, of which three are corrupt: more than two thirds. Statements by encodings of their own: docs/protocol.md in words,
/// not the contracts' library.
abstract contract CourtFixture is Fixture {
    uint256 internal constant MEMBERS = 4;
    uint256 internal constant CORRUPT = 0x7;
    uint256 internal constant BOND = 5e18;
    uint64 internal constant RESPONSE = 12;
    uint64 internal constant VOID = 6;
    uint64 internal constant REVIEW = 100;
    uint256 internal constant SLASH_PPM = 500_000;
    uint256 internal constant SIGNERS_PPM = 100_000;
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;
    address internal constant CHALLENGER = address(0xc4a1);
    address internal constant RESPONDER = address(0x4e5b);
    address internal constant STRANGER = address(0x57a6);
    bytes internal constant COMMIT_DST = "ASSAY-V1-COMMIT_BLS12381G1_XMD:SHA-256_SSWU_RO_";
    bytes internal constant BIT_VOTE_DST = "ASSAY-V1-BITVOTE_BLS12381G1_XMD:SHA-256_SSWU_RO_";

    SignersCourt internal signersCourt;

    function deployCourts() internal {
        deployWithCommittee(MEMBERS);
        signersCourt = new SignersCourt(settlement, SIGNERS_PPM, REVIEW, address(this));
        allow(address(signersCourt));
    }

    /// Makes it a court, and gives the challenger what bonds take.
    function allow(address court) internal {
        settlement.setCourt(court, true);
        token.mint(CHALLENGER, 100 * BOND);
        vm.prank(CHALLENGER);
        token.approve(court, type(uint256).max);
    }

    function terms() internal pure returns (IDisputeCourt.Terms memory) {
        return IDisputeCourt.Terms(BOND, RESPONSE, VOID);
    }

    // ---- statements

    function commitOf(uint64 oracleId, uint64 epoch, bytes32 root) internal pure returns (Statements.Commit memory) {
        return Statements.Commit(epoch, oracleId, keccak256("seeds"), true, root, 1, 0);
    }

    function digestOf(Statements.Commit memory c) internal view returns (bytes32) {
        bytes memory instance = abi.encode(keccak256("assay.commit.v1"), block.chainid, address(settlement), c.epoch, c.oracleId);
        return keccak256(bytes.concat(instance, abi.encode(c.seeds, c.secure, c.root, c.leafCount, c.logHead)));
    }

    function voteDigest(uint64 oracleId, uint64 epoch, bytes32[] memory held) internal view returns (bytes32) {
        bytes memory words = abi.encode(keccak256("assay.bitvote.v1"), block.chainid, address(settlement), epoch, oracleId);
        for (uint256 i = 0; i < held.length; ++i) {
            words = bytes.concat(words, held[i]);
        }
        return keccak256(words);
    }

    function reportMessage(uint64 epoch, uint64 view_, bytes32 digest) internal view returns (bytes32) {
        return keccak256(abi.encode(keccak256("assay.report.v1"), block.chainid, address(settlement), epoch, view_, digest));
    }

    function pairLeaf(uint64 id, bytes32 word) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(id, word))));
    }

    /// The signature of the oracle that was registered as number `index`, whose id is one more.
    function sign(uint256 index, bytes32 message, bytes memory dst) internal view returns (bytes memory) {
        return BlsSigner.sign(BlsSigner.secret(index), message, dst);
    }

    function signBoth(uint256 index, bytes32 first, bytes32 second, bytes memory dst) internal view returns (bytes memory) {
        return addPoints(sign(index, first, dst), sign(index, second, dst));
    }

    function addPoints(bytes memory a, bytes memory b) internal view returns (bytes memory) {
        (bool ok, bytes memory sum) = address(0x0b).staticcall(bytes.concat(a, b));
        require(ok, "addition failed");
        return sum;
    }

    // ---- a false report

    /// The corrupt members post it; the honest one does not sign.
    function post(Report memory r) internal {
        vm.warp(endOf(r.epoch));
        submit(r, CORRUPT);
    }

    function assertVoid(Report memory r) internal view {
        (bytes32 digest,) = settlement.acceptedReport(r.epoch);
        vm.assertEq(digest, bytes32(0));
        vm.assertTrue(settlement.voided(digestOf(r)));
    }

    function assertStands(Report memory r) internal view {
        (bytes32 digest,) = settlement.acceptedReport(r.epoch);
        vm.assertEq(digest, stored(digestOf(r)));
    }

    /// The second half of every dispute about a wrong report: its signers, and nobody else, are slashed, and the challenger is paid.
    function slashTheSigners(Report memory r, address court) internal {
        bytes memory signature = signReport(r, CORRUPT);
        uint256 burned = token.balanceOf(BURN);
        uint256 had = signersCourt.credit(CHALLENGER);
        signersCourt.openReview(r, court);
        vm.warp(block.timestamp + REVIEW);
        vm.assertEq(signersCourt.slashSigners(r, CORRUPT, signature, 256), 3);

        uint256 slash = STAKE * SIGNERS_PPM / 1e6;
        for (uint64 id = 1; id <= 3; ++id) {
            vm.assertEq(oracles.stakeOf(id), STAKE - slash);
        }
        vm.assertEq(oracles.stakeOf(4), STAKE);
        vm.assertEq(token.balanceOf(BURN) - burned, 3 * slash * 9 / 10);
        vm.assertEq(signersCourt.credit(CHALLENGER) - had, 3 * slash / 10);
        uint256 balance = token.balanceOf(CHALLENGER);
        vm.prank(CHALLENGER);
        vm.assertEq(signersCourt.withdraw(), 3 * slash / 10);
        vm.assertEq(token.balanceOf(CHALLENGER) - balance, 3 * slash / 10);
    }

    /// Leaves in the order that contracts take them in.
    function sorted(bytes32[] memory leaves) internal pure returns (bytes32[] memory) {
        MerkleTree.build(leaves); // sorts in place
        return leaves;
    }
}
