"""Devices are found as if all were looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hubbub_sns.devices import Devices
from hubbub_sns.records import Endpoint

few = st.sampled_from("abc")
acts = st.lists(st.tuples(st.booleans(), few, few, few))


@given(acts)
def test_devices_are_found_by_arn_application_and_token(
    acts: list[tuple[bool, str, str, str]],
) -> None:
    devices, known = Devices(), dict[str, Endpoint]()
    for added, name, application, token in acts:
        arn = f"{application}/{name}"
        endpoint = known.get(arn) or Endpoint(arn=arn, realm="r", application=application)
        if added:
            endpoint.attributes = {"Token": token}
            devices.add(endpoint)
            known[arn] = endpoint
        else:
            devices.discard(endpoint)
            known.pop(arn, None)
        for where in "abc":
            mine = [each for each in known.values() if each.application == where]
            assert sorted(each.arn for each in devices.of(where)) == sorted(e.arn for e in mine)
            for sought in "abc":
                found = devices.with_token(where, sought)
                sharing = [each for each in mine if each.attributes["Token"] == sought]
                assert found in sharing if sharing else found is None
        assert all(devices.get(arn) is each for arn, each in known.items())
    for endpoint in list(known.values()):
        devices.discard(endpoint)
    assert vars(devices) == vars(Devices()), "nothing is left behind"
