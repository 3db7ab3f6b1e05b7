"""Does a controller run what was built? Its greeting, its self test and its parameters, against an image's manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from esmaml_robot.bridge.link import Link
from esmaml_robot.bridge.parameters import keep_parameters, read_parameters, theta_crc32, write_parameters
from esmaml_robot.errors import SpecMismatch
from esmaml_robot.identity import require_match
from esmaml_robot.policy import Policy

from .image import Image, Manifest


@dataclass(frozen=True)
class Proof:
    """What a controller showed: who it is, the largest error of its self test, the CRC-32 of the parameters in force,
    and the number of its present start.
    """

    board: str
    firmware_id: str
    boot_id: str
    spec_hash: str
    layout_hash: str
    policy_hash: str
    selftest_error: float
    parameters_crc32: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Expected:
    """What a controller has to say of itself; a board or firmware that is not known may be any."""

    spec_hash: str
    layout_hash: str
    policy_hash: str
    board: str | None = None
    firmware_id: str | None = None


def expected_of(manifest: Manifest) -> Expected:
    return Expected(
        manifest.spec_hash, manifest.layout_hash, manifest.policy_hash, manifest.board, manifest.firmware_id
    )


def prove(link: Link, expected: Expected) -> Proof:
    """Open a session and hold the controller against what is expected; parameters in force are reported, not judged.

    Raises:
        SpecMismatch: something else runs; says which of board, firmware and hashes differs, with both values.
        PolicyError: the self test fails. LinkError: nobody answers.
    """
    info = link.connect()
    for what, ours, theirs in (
        ("board", expected.board, info.board),
        ("spec_hash (robot)", expected.spec_hash, info.spec_hash),
        ("layout_hash (policy architecture)", expected.layout_hash, info.layout_hash),
        ("policy_hash", expected.policy_hash, info.policy_hash),
        ("firmware_id", expected.firmware_id, f"{info.firmware_id:08x}"),
    ):
        require_match(
            f"{link.port}: {what}",
            theirs if ours is None else ours,
            theirs,
            our_name="what was built",
            their_name="what runs there",
            advice="Flash what was built, or look whether this is the right port.",
        )
    error = float(np.uint32(link.exchange("selftest")).view(np.float32))
    return Proof(
        info.board,
        f"{info.firmware_id:08x}",
        f"{info.boot_id:08x}",
        info.spec_hash,
        info.layout_hash,
        info.policy_hash,
        error,
        f"{link.query('status', 'status_reply')['crc32']:08x}",
    )


def require_built_in(link: Link, proof: Proof, image: Image, forget: bool) -> Proof:
    """The parameters in force must be the image's own, and not ones that the controller kept from before.

    With `forget` those kept are forgotten, and the image's own are in force at once. Raises SpecMismatch otherwise.
    """
    expected = image.manifest.parameters_crc32
    if proof.parameters_crc32 == expected:
        return proof
    if not forget:
        raise SpecMismatch(
            f"{link.port}: the image is on the board and passes its self test, but the board has kept parameters of "
            f"before and uses those: CRC-32 is {proof.parameters_crc32}, the image has {expected}. To drop them, flash "
            "again with --forget-kept; to save them first, `esmaml robot params --save`."
        )
    write_parameters(link, image.policy().theta)
    keep_parameters(link, keep=False)
    return prove(link, expected_of(image.manifest))


def _takes_parameters(link: Link, policy: Policy, image: Image, found: str, count: int) -> bool:
    """Is the policy compiled in over there the image's but for its parameters?"""
    if found in image.manifest.same_normaliser:
        return True
    # the parameters in force may be those compiled in; then the hash of both together says what the normaliser is
    there = Policy(policy.spec, read_parameters(link, count), policy.normaliser)
    return there.policy_hash == found


def send_parameters(link: Link, image: Image) -> str:
    """Bring the image's parameters to firmware that differs from it in nothing else, and have them kept over power off.

    Returns their CRC-32 as the controller gives it.

    Raises:
        SpecMismatch: robot, architecture or normaliser of the firmware differ: the whole image is needed.
        LinkError: the board cannot keep them, or nobody answers.
    """
    manifest, policy = image.manifest, image.policy()
    if manifest.arithmetic != "float32":
        raise SpecMismatch(
            f"the image in {image.folder} has its policy frozen in {manifest.arithmetic}: there are no parameters to "
            "send. Flash the whole image, without --parameters-only."
        )
    info = link.connect()
    whole = "Parameters alone do not fit: flash the whole image, without --parameters-only."
    for what, ours, theirs in (
        ("spec_hash (robot)", manifest.spec_hash, info.spec_hash),
        ("layout_hash (policy architecture)", manifest.layout_hash, info.layout_hash),
    ):
        require_match(
            f"{link.port}: {what}", ours, theirs, our_name="the image", their_name="what runs there", advice=whole
        )
    if not _takes_parameters(link, policy, image, info.policy_hash, info.n_parameters):
        raise SpecMismatch(
            f"{link.port}: the policy compiled in there, {info.policy_hash}, may have another observation "
            f"normaliser than the image's, {manifest.policy_hash}. {whole}"
        )
    write_parameters(link, policy.theta)
    keep_parameters(link, keep=True)
    in_force = link.query("status", "status_reply")["crc32"]
    require_match(
        f"{link.port}: CRC-32 of the parameters",
        f"{theta_crc32(policy.theta):08x}",
        f"{in_force:08x}",
        our_name="the image",
        their_name="the controller",
        advice="Send them again.",
    )
    return f"{in_force:08x}"
