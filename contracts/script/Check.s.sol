// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

import {ICapacityMarket} from "../src/interfaces/ICapacityMarket.sol";
import {IKeeper} from "../src/interfaces/IKeeper.sol";
import {IOracleRegistry} from "../src/interfaces/IOracleRegistry.sol";
import {IProviderRegistry} from "../src/interfaces/IProviderRegistry.sol";
import {ISlaSettlement} from "../src/interfaces/ISlaSettlement.sol";
import {AddressBook, Deployment} from "./AddressBook.sol";
import {Opening} from "./Opening.sol";
import {Parameters, ParametersJson} from "./Parameters.sol";
import {FIRST_COURT, PARTS, Part, Plan} from "./Plan.sol";
import {ScriptVm, vm} from "./ScriptVm.sol";

/// What the provider registry knows, beyond what its users need.
interface IWired {
    function settlement() external view returns (address);
    function market() external view returns (address);
}

/// Creates contracts in a frame of its own, so that one whose constructor refuses does not end the check.
contract Creator {
    function create(Part part, bytes calldata arguments) external returns (address) {
        return Plan.create(part, arguments);
    }
}

/// @title Checks a deployment against its address book, read from the file BOOK
/// @notice Creates every contract again, in a copy of the chain, from these sources, the book's parameters and its addresses. Equal
/// code is equal bytecode and equal immutables. What lies in storage is read through the contracts. Prints a line for each check and
/// reverts when one fails. Sends nothing.
contract Check {
    error DeploymentDiffers(uint256 failures);

    address private constant CONSOLE = 0x000000000000000000636F6e736F6c652e6c6f67;
    bytes32 private constant ROLE_GRANTED = keccak256("RoleGranted(bytes32,address,address)");

    uint256 private _failures;
    Creator private _creator = new Creator();

    function run() external {
        string memory json = vm.readFile(vm.envString("BOOK"));
        Deployment memory d = AddressBook.read(json);
        Parameters memory p = ParametersJson.read(json, ".parameters");

        _expect(d.chainId == block.chainid && p.chainId == block.chainid, "chain: the book's is the RPC's");
        _expect(p.settlement.paramsHash == vm.parseJsonBytes32(json, ".paramsHash"), "book: paramsHash is that of the parameters");
        _checkCode(d, p);
        _checkWiring(d);
        _checkOwners(d);
        _checkRoles(d, p);
        _checkCourts(d);
        _checkValues(d, p);
        if (_failures != 0) revert DeploymentDiffers(_failures);
    }

    function _checkCode(Deployment memory d, Parameters memory p) private {
        for (uint256 i = 0; i < PARTS; ++i) {
            string memory name = Plan.name(Part(i));
            address live = d.addressOf[i];
            _expect(live.code.length != 0 && live.codehash == d.codeHashes[i], string.concat(name, ": code is what the book says"));
            if (i == uint256(Part.Token) && p.token != address(0)) {
                _expect(live == p.token, "TestToken: is the token of the parameters");
                continue;
            }
            bytes memory arguments = Plan.arguments(Part(i), p, d.addressOf, d.deployer);
            _expect(keccak256(arguments) == keccak256(d.arguments[i]), string.concat(name, ": constructor arguments are the parameters'"));
            vm.record();
            address again = _createAgain(Part(i), arguments);
            bool isSame = again != address(0) && again.codehash == live.codehash;
            _expect(isSame, string.concat(name, ": code and immutables are those of these sources"));
            if (i == uint256(Part.SeedCourt)) _expect(_isConstructedAlike(again, live), "SeedCourt: the beacon's key is the parameters'");
        }
    }

    /// Zero when the constructor refuses.
    function _createAgain(Part part, bytes memory arguments) private returns (address created) {
        try _creator.create(part, arguments) returns (address again) {
            created = again;
        } catch {}
    }

    /// Whether all that the constructor wrote to storage is still there: for contracts that never change it.
    function _isConstructedAlike(address again, address live) private returns (bool isAlike) {
        (, bytes32[] memory written) = vm.accesses(again);
        isAlike = written.length != 0;
        for (uint256 i = 0; i < written.length; ++i) {
            isAlike = isAlike && vm.load(again, written[i]) == vm.load(live, written[i]);
        }
    }

    function _checkWiring(Deployment memory d) private {
        address settlement = d.addressOf[uint256(Part.SlaSettlement)];
        IWired providers = IWired(d.addressOf[uint256(Part.ProviderRegistry)]);
        _expect(
            IOracleRegistry(d.addressOf[uint256(Part.OracleRegistry)]).settlement() == settlement, "OracleRegistry: knows the settlement"
        );
        _expect(providers.settlement() == settlement, "ProviderRegistry: knows the settlement");
        _expect(providers.market() == d.addressOf[uint256(Part.CapacityMarket)], "ProviderRegistry: knows the market");
    }

    function _checkOwners(Deployment memory d) private {
        Part[6] memory owned =
            [Part.OracleRegistry, Part.ProviderRegistry, Part.SlaSettlement, Part.ProviderStanding, Part.CapacityMarket, Part.Keeper];
        for (uint256 i = 0; i < owned.length; ++i) {
            _checkOwner(d, owned[i]);
        }
        _checkOwner(d, Part.SignersCourt);
        address pending = Ownable2Step(d.addressOf[uint256(Part.SlaSettlement)]).pendingOwner();
        _expect(pending == address(0), string.concat("SlaSettlement: no owner is pending", _named(pending)));
    }

    function _checkOwner(Deployment memory d, Part part) private {
        address owner = Ownable2Step(d.addressOf[uint256(part)]).owner();
        _expect(owner == d.addressOf[uint256(Part.Timelock)], string.concat(Plan.name(part), ": the timelock owns it", _named(owner)));
    }

    /// Also that nobody else has a role: everybody who was ever granted one is looked at.
    function _checkRoles(Deployment memory d, Parameters memory p) private {
        address timelock = d.addressOf[uint256(Part.Timelock)];
        _expect(TimelockController(payable(timelock)).getMinDelay() == p.governance.delay, "TimelockController: delay is the parameters'");
        IAccessControl roles = IAccessControl(timelock);
        _expect(roles.hasRole(Opening.proposerRole(), p.governance.proposer), "TimelockController: the proposer proposes");
        _expect(roles.hasRole(Opening.cancellerRole(), p.governance.proposer), "TimelockController: the proposer cancels");
        _expect(roles.hasRole(Opening.executorRole(), p.governance.executor), "TimelockController: the executor executes");

        bytes32[] memory topics = new bytes32[](1);
        topics[0] = ROLE_GRANTED;
        ScriptVm.EthGetLogs[] memory grants = vm.eth_getLogs(d.fromBlock, block.number, timelock, topics);
        _expect(grants.length != 0, "TimelockController: the RPC gives its events");
        for (uint256 i = 0; i < grants.length; ++i) {
            (bytes32 role, address account) = (grants[i].topics[1], address(uint160(uint256(grants[i].topics[2]))));
            if (!roles.hasRole(role, account)) continue;
            bool isExpected = role == bytes32(0)
                ? account == timelock
                : account == (role == Opening.executorRole() ? p.governance.executor : p.governance.proposer);
            if (!isExpected) _expect(false, string.concat("TimelockController: nobody else has a role", _named(account)));
        }
        bool isRid = !roles.hasRole(bytes32(0), d.deployer) && !roles.hasRole(Opening.proposerRole(), d.deployer)
            && !roles.hasRole(Opening.executorRole(), d.deployer) && !roles.hasRole(Opening.cancellerRole(), d.deployer);
        _expect(isRid, "TimelockController: the deployer has no role");
    }

    /// Also that no other court is allowed.
    function _checkCourts(Deployment memory d) private {
        ISlaSettlement settlement = ISlaSettlement(d.addressOf[uint256(Part.SlaSettlement)]);
        for (uint256 i = FIRST_COURT; i < PARTS; ++i) {
            _expect(settlement.isCourt(d.addressOf[i]), string.concat(Plan.name(Part(i)), ": the settlement allows it"));
        }
        bytes32[] memory topics = new bytes32[](1);
        topics[0] = ISlaSettlement.CourtSet.selector;
        ScriptVm.EthGetLogs[] memory set = vm.eth_getLogs(d.fromBlock, block.number, address(settlement), topics);
        bool isAlone = true;
        for (uint256 i = 0; i < set.length; ++i) {
            address court = address(uint160(uint256(set[i].topics[1])));
            if (settlement.isCourt(court) && !_isCourtOf(d, court)) isAlone = false;
        }
        _expect(isAlone, "SlaSettlement: allows no court beyond the book");
    }

    function _isCourtOf(Deployment memory d, address court) private pure returns (bool) {
        for (uint256 i = FIRST_COURT; i < PARTS; ++i) {
            if (d.addressOf[i] == court) return true;
        }
        return false;
    }

    function _checkValues(Deployment memory d, Parameters memory p) private {
        address guardian = ISlaSettlement(d.addressOf[uint256(Part.SlaSettlement)]).guardian();
        _expect(guardian == p.governance.guardian, string.concat("SlaSettlement: guardian is the parameters'", _named(guardian)));
        ICapacityMarket.Fees memory fees = ICapacityMarket(d.addressOf[uint256(Part.CapacityMarket)]).fees();
        _expect(
            keccak256(abi.encode(fees)) == keccak256(abi.encode(p.fees)), "CapacityMarket: margin, share and treasury are the parameters'"
        );
        IProviderRegistry providers = IProviderRegistry(d.addressOf[uint256(Part.ProviderRegistry)]);
        for (uint256 i = 0; i < p.providers.classes.length; ++i) {
            IProviderRegistry.ClassStake memory class = p.providers.classes[i];
            bool isSame = providers.stakePerGib(class.classId) == class.perGib;
            _expect(isSame, string.concat("ProviderRegistry: stake of class ", vm.toString(uint256(class.classId))));
        }
        IKeeper keeper = IKeeper(d.addressOf[uint256(Part.Keeper)]);
        for (uint256 i = 0; i < p.tips.length; ++i) {
            IKeeper.Tariff memory tariff = keeper.tariff(IKeeper.Action(i));
            bool isSame = tariff.tip == p.tips[i].tip && tariff.perDay == p.tips[i].perDay;
            _expect(isSame, string.concat("Keeper: tip of action ", vm.toString(i)));
        }
    }

    function _named(address account) private pure returns (string memory) {
        return string.concat(" (", vm.toString(account), ")");
    }

    function _expect(bool holds, string memory what) private {
        if (!holds) ++_failures;
        string memory line = string.concat(holds ? unicode"✓ " : unicode"✗ ", what);
        (bool ok,) = CONSOLE.staticcall(abi.encodeWithSignature("log(string)", line));
        ok; // without forge nobody listens
    }
}
