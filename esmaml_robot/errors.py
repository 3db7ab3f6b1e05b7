"""Every error that a user can meet, as one tree.

EsmamlError                 exit code 1   anything below; the message says what, where and what to do next
├── ConfigError             exit code 2   a YAML file, an option or a URL is wrong
├── CheckpointError         exit code 3   a run folder or a checkpoint is missing, damaged or of another kind
│   └── DamagedCheckpoint                 a checkpoint is not what was written
├── SpecMismatch            exit code 4   hashes of robot, policy layout or policy disagree
├── PolicyError             exit code 5   a parameter is not finite, or of the wrong size
├── LinkError               exit code 6   the serial port or the controller behind it
│   ├── PortError                         the port cannot be opened, or another program holds it
│   ├── LinkTimeout                       the controller did not answer in time
│   └── LinkLost                          the cable is out, or the controller restarted
├── SafetyStop              exit code 7   the controller or the operator stopped the robot
│   └── OperatorStop                      a person said no, or nobody was there to say yes
├── ExportError             exit code 8   a policy cannot be written in the format asked for
├── ToolMissing             exit code 9   a compiler, another program or an optional package is not installed
├── SimulationError         exit code 10  a simulated body yielded a number that is not finite, or its code failed
└── FlashError              exit code 11  an image did not get onto the board
"""

from __future__ import annotations


class EsmamlError(Exception):
    """Base of all errors of this package; `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(EsmamlError):
    exit_code = 2


class CheckpointError(EsmamlError):
    exit_code = 3


class DamagedCheckpoint(CheckpointError):
    pass


class SpecMismatch(EsmamlError):
    exit_code = 4


class PolicyError(EsmamlError):
    exit_code = 5


class LinkError(EsmamlError):
    exit_code = 6


class PortError(LinkError):
    pass


class LinkTimeout(LinkError):
    pass


class LinkLost(LinkError):
    pass


class SafetyStop(EsmamlError):
    exit_code = 7


class OperatorStop(SafetyStop):
    pass


class ExportError(EsmamlError):
    exit_code = 8


class ToolMissing(EsmamlError):
    exit_code = 9


class SimulationError(EsmamlError):
    exit_code = 10


class FlashError(EsmamlError):
    exit_code = 11
