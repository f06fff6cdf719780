"""All routes of the hub's API, in the order in which they are tried."""

from __future__ import annotations

from littoral.core.version import VERSION
from littoral.hub.blob_room import BlobRoom
from littoral.hub.openapi import openapi_verb
from littoral.hub.own_identity import OwnIdentity
from littoral.hub.parts import Parts
from littoral.hub.verb import Verb
from littoral.hub.verbs_blobs import BlobVerbs
from littoral.hub.verbs_demo import DemoVerbs, Faults
from littoral.hub.verbs_events import EventVerbs
from littoral.hub.verbs_joining import JoinVerbs
from littoral.hub.verbs_live import HubFacts, LiveVerbs
from littoral.hub.verbs_models import ModelVerbs
from littoral.hub.verbs_own import OwnVerbs
from littoral.hub.verbs_people import PeopleVerbs
from littoral.hub.verbs_settings import SettingsVerbs
from littoral.hub.verbs_sites import SiteVerbs
from littoral.monitor.meters import Meters


def all_verbs(
    parts: Parts,
    identity: OwnIdentity,
    room: BlobRoom,
    meters: Meters,
    facts: HubFacts,
    *,
    faults: Faults | None = None,
    watch_every_s: float = 1.0,
) -> tuple[Verb, ...]:
    """Every route, and the document that describes them."""
    verbs = (
        *JoinVerbs(parts, identity).verbs(),
        *EventVerbs(parts).verbs(),
        *SiteVerbs(parts).verbs(),
        *SettingsVerbs(parts).verbs(),
        *ModelVerbs(parts, room).verbs(),
        *BlobVerbs(parts, room).verbs(),
        *PeopleVerbs(parts).verbs(),
        *OwnVerbs(meters).verbs(),
        *LiveVerbs(parts, facts, every_s=watch_every_s).verbs(),
        *(() if faults is None else DemoVerbs(faults).verbs()),
    )
    return (*verbs, openapi_verb(verbs, VERSION))
