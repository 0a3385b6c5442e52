// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SlaSettlement} from "../../src/SlaSettlement.sol";
import {AttestedSettlement} from "../../src/attestation/AttestedSettlement.sol";
import {EcdsaAttestation} from "../../src/attestation/EcdsaAttestation.sol";
import {ISlaSettlement, Report} from "../../src/interfaces/ISlaSettlement.sol";
import {Fixture} from "./Fixture.sol";

/// A settlement whose committee signs by ECDSA. Member `i` has weight `i` + 1 and the `i`-th lowest address.
abstract contract Attested is Fixture {
    EcdsaAttestation internal ecdsa;
    uint256[] internal secrets;

    function deployAttested(uint256 n) internal {
        delete secrets;
        for (uint256 i = 0; i < n; ++i) {
            secrets.push(uint256(keccak256(abi.encode("assay test member", i))));
            for (uint256 k = i; k > 0 && vm.addr(secrets[k - 1]) > vm.addr(secrets[k]); --k) {
                (secrets[k - 1], secrets[k]) = (secrets[k], secrets[k - 1]);
            }
        }
        ecdsa = new EcdsaAttestation(address(this));
        ecdsa.setMembers(membersOf(n));
        deploy();
    }

    /// The first `n`.
    function membersOf(uint256 n) internal view returns (EcdsaAttestation.Member[] memory members) {
        members = new EcdsaAttestation.Member[](n);
        for (uint256 i = 0; i < n; ++i) {
            members[i] = EcdsaAttestation.Member(vm.addr(secrets[i]), uint16(i + 1));
        }
    }

    /// The same interface, another class.
    function newSettlement() internal virtual override returns (SlaSettlement) {
        return SlaSettlement(address(new AttestedSettlement(config(), roles(), ecdsa)));
    }

    function config() internal view virtual override returns (ISlaSettlement.Config memory c) {
        c = super.config();
        c.oracleRegistry = address(ecdsa);
    }

    function attestedReport(uint64 epoch) internal view returns (Report memory r) {
        r = report(epoch);
        (r.setEpoch,) = ecdsa.currentCommittee();
    }

    /// 64 bytes for each bit.
    function attest(bytes32 message, uint256 bitmap) internal view returns (bytes memory attestation) {
        for (uint256 i = 0; bitmap >> i != 0; ++i) {
            if ((bitmap >> i) & 1 == 1) attestation = bytes.concat(attestation, compact(secrets[i], message));
        }
    }

    function compact(uint256 secret, bytes32 message) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, message);
        return abi.encodePacked(r, uint256(s) | (uint256(v - 27) << 255));
    }

    function submitAttested(Report memory r, uint256 bitmap) internal {
        bytes memory attestation = attest(messageOf(r), bitmap);
        settlement.submitReport(r, bitmap, attestation);
    }
}
