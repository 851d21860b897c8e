"""The endpoints of devices, found by ARN, by application and by token, however many there are."""

from hubbub_sns.records import Endpoint


class Devices:
    """The endpoints of all platform applications."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}
        self._of_application: dict[str, dict[str, Endpoint]] = {}
        self._by_token: dict[tuple[str, str], dict[str, Endpoint]] = {}
        self._tokens: dict[str, str] = {}
        """What each is found by, whatever its token has been changed to since."""

    def get(self, arn: str) -> Endpoint | None:
        """Return the endpoint with this ARN."""
        return self._endpoints.get(arn)

    def of(self, application: str) -> list[Endpoint]:
        """Return the endpoints of an application, by its ARN."""
        return list(self._of_application.get(application, {}).values())

    def with_token(self, application: str, token: str) -> Endpoint | None:
        """Return the endpoint of a device that the platform knows by this token."""
        return next(iter(self._by_token.get((application, token), {}).values()), None)

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint, or take note that it was changed."""
        self._forget_token(endpoint)
        arn, token = endpoint.arn, endpoint.attributes["Token"]
        self._endpoints[arn] = endpoint
        self._of_application.setdefault(endpoint.application, {})[arn] = endpoint
        self._by_token.setdefault((endpoint.application, token), {})[arn] = endpoint
        self._tokens[arn] = token

    def discard(self, endpoint: Endpoint) -> None:
        """Remove an endpoint, if it is there."""
        if self._endpoints.pop(endpoint.arn, None) is not None:
            self._forget_token(endpoint)
            peers = self._of_application[endpoint.application]
            del peers[endpoint.arn]
            if not peers:
                del self._of_application[endpoint.application]

    def _forget_token(self, endpoint: Endpoint) -> None:
        token = self._tokens.pop(endpoint.arn, None)
        if token is not None:
            key = (endpoint.application, token)
            sharing = self._by_token[key]
            del sharing[endpoint.arn]
            if not sharing:
                del self._by_token[key]
