"""Amazon SNS: its topics are subtrees of hubbub's topic tree, in the Query protocol."""

from hubbub_sns.plugin import SnsPlugin
from hubbub_sns.settings import SnsSettings

__all__ = ["SnsPlugin", "SnsSettings"]
