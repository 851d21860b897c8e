"""AWS's managed data identifiers, as patterns.

AWS finds some of them by machine learning; here each is a pattern, and those whose pattern alone
would find too much need one of their keywords nearby, as in AWS.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_NEAR = 60
"""Characters before a match in which a keyword has to be."""
_EU_LICENSES = (
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
)  # fmt: skip


class Identifier(NamedTuple):
    """How a kind of data is found: a pattern, perhaps a keyword before it, perhaps a check."""

    pattern: re.Pattern[str]
    keywords: re.Pattern[str] | None = None
    valid: Callable[[str], bool] | None = None

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the data begins and ends."""
        for found in self.pattern.finditer(text):
            if self.valid is not None and not self.valid(found[0]):
                continue
            start = found.start()
            if self.keywords is not None and not self.keywords.search(
                text, max(0, start - _NEAR), start
            ):
                continue
            yield found.span()


def luhn(text: str) -> bool:
    """Tell whether the digits of a number have the right check digit."""
    digits = [int(each) for each in text if each.isdecimal()]
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = digit * (1 + index % 2)
        total += doubled - 9 * (doubled > 9)
    return total % 10 == 0


def _iban(text: str) -> bool:
    plain = re.sub(r"[^A-Z0-9]", "", text)
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(each, 36)) for each in moved)) % 97 == 1


def _address(text: str) -> bool:
    return all(0 <= int(part) <= 255 for part in text.split("."))


def _of(pattern: str, *keywords: str, valid: Callable[[str], bool] | None = None) -> Identifier:
    near = None
    if keywords:
        near = re.compile("|".join(re.escape(each) for each in keywords), re.IGNORECASE)
    return Identifier(re.compile(pattern), near, valid)


def _account(country: str, digits: str) -> Identifier:
    return _of(rf"\b{country}[0-9]{{2}}[ -]?{digits}\b", valid=_iban)


def _key(title: str) -> Identifier:
    return _of(rf"-----BEGIN {title}-----[^-]{{1,20000}}-----END {title}-----")


_LICENSE = (
    "driver", "driving", "licence", "license", "permis", "führerschein", "fuhrerschein", "carnet",
    "patente", "prawo jazdy", "rijbewijs", "körkort", "kørekort", "ajokortti", "vairuotojo",
    "vozačka", "vozniško", "permis de conducere", "řidičský", "vodičský", "vezetői", "juhiluba",
)  # fmt: skip
_SSN = ("social security", "ssn", "soc sec", "sozialversicherung", "seguridad social")
_PASSPORT = ("passport", "passeport", "pasaporte", "passaporto", "reisepass", "passnummer")
_PHONE = ("phone", "tel", "mobile", "cell", "call", "fax", "handy", "telefon", "teléfono",
          "téléphone", "cellulare", "celular", "contact")  # fmt: skip
_TAX = ("tax", "tin", "steuer", "fiscal", "nif", "utr", "vat")

IDENTIFIERS: dict[str, Identifier] = {
    # credentials
    "AwsSecretKey": _of(
        r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])",
        "aws_secret_access_key", "secret access key", "secretaccesskey", "secret key", "set-awscr",
        "credentials", "aws_secret",
    ),
    "OpenSshPrivateKey": _key("OPENSSH PRIVATE KEY"),
    "PgpPrivateKey": _key("PGP PRIVATE KEY BLOCK"),
    "PkcsPrivateKey": _key("(?:RSA |EC |DSA |ENCRYPTED )?PRIVATE KEY"),
    "PuttyPrivateKey": _of(r"PuTTY-User-Key-File-[23]: [^\n]{1,200}\n"),
    # devices
    "IpAddress": _of(
        r"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\d.])|(?<![:\w])(?:[0-9A-Fa-f]{1,4}:){7}"
        r"[0-9A-Fa-f]{1,4}(?![:\w])",
        valid=lambda text: ":" in text or _address(text),
    ),
    # finance
    "BankAccountNumber-DE": _account("DE", r"(?:[0-9]{4}[ -]?){4}[0-9]{2}"),
    "BankAccountNumber-ES": _account("ES", r"(?:[0-9]{4}[ -]?){4}[0-9]{4}"),
    "BankAccountNumber-FR": _account("FR", r"(?:[0-9A-Z]{4}[ -]?){5}[0-9A-Z]{3}"),
    "BankAccountNumber-GB": _account("GB", r"[A-Z]{4}[ -]?(?:[0-9]{4}[ -]?){3}[0-9]{2}"),
    "BankAccountNumber-IT": _account("IT", r"[A-Z][0-9]{3}[ -]?(?:[0-9A-Z]{4}[ -]?){4}[0-9A-Z]{3}"),
    "BankAccountNumber-US": _of(
        r"\b[0-9]{6,17}\b", "account", "acct", "bank", "routing", "checking", "savings"
    ),
    "CreditCardExpiration": _of(
        r"\b(?:0[1-9]|1[0-2])[/-](?:20)?[0-9]{2}\b", "expir", "exp", "valid", "thru", "card"
    ),
    "CreditCardNumber": _of(
        r"(?<![\d-])(?:[3-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{1,4}(?:[ -]?[0-9]{3})?"
        r"|3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5})(?![\d-])",
        valid=luhn,
    ),
    "CreditCardSecurityCode": _of(r"\b[0-9]{3,4}\b", "cvv", "cvc", "csc", "security code", "cid"),
    # health
    "DrugEnforcementAgencyNumber-US": _of(r"\b[A-Z]{2}[0-9]{7}\b", "dea", "drug enforcement"),
    "HealthInsuranceCardNumber-EU": _of(
        r"\b(?:[A-Z]{2}[0-9]{8,20}|[0-9]{10,20})\b", "health insurance", "ehic", "assicurazione",
        "krankenversicherung", "assurance maladie", "tarjeta sanitaria",
    ),
    "HealthInsuranceClaimNumber-US": _of(
        r"\b[0-9]{9}[A-Z][0-9A-Z]?\b", "hicn", "health insurance claim", "hic"
    ),
    "HealthInsuranceNumber-FR": _of(
        r"\b[12][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9AB]{2}[ ]?[0-9]{3}[ ]?[0-9]{3}(?:[ ]?[0-9]{2})?\b",
        "sécurité sociale", "securite sociale", "insurance", "carte vitale", "assurance",
    ),
    "HealthcareProcedureCode-US": _of(
        r"\b[A-V][0-9]{4}\b", "hcpcs", "procedure code", "healthcare"
    ),
    "MedicareBeneficiaryNumber-US": _of(
        r"\b[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9]-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9]"
        r"-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}\b",
        "mbi", "medicare", "beneficiary",
    ),
    "NationalDrugCode-US": _of(r"\b[0-9]{4,5}-[0-9]{3,4}-[0-9]{1,2}\b", "ndc", "national drug"),
    "NationalInsuranceNumber-GB": _of(
        r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[A-D]\b"
    ),
    "NationalProviderId-US": _of(r"\b[12][0-9]{9}\b", "npi", "national provider", "hipaa"),
    "NhsNumber-GB": _of(r"\b[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}\b", "nhs", "national health"),
    "PersonalHealthNumber-CA": _of(
        r"\b[0-9]{4}[ -]?[0-9]{3}[ -]?[0-9]{3}\b", "health", "phn", "healthcare"
    ),
    # persons
    "Address": _of(
        r"\b[0-9]{1,6}[ ](?:[A-Z][A-Za-z.']{0,30}[ ]){1,5}(?:Street|St|Avenue|Ave|Road|Rd|"
        r"Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Way|Place|Pl|Terrace|Parkway)\b"
    ),
    "CepCode-BR": _of(r"\b[0-9]{5}-[0-9]{3}\b", "cep", "código", "codigo", "postal"),
    "Cnpj-BR": _of(r"\b[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}/?[0-9]{4}-?[0-9]{2}\b", "cnpj", "cadastro"),
    "CpfCode-BR": _of(r"\b[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}\b", "cpf", "cadastro"),
    "DateOfBirth": _of(
        r"\b(?:[0-9]{1,2}[/.-][0-9]{1,2}[/.-](?:19|20)?[0-9]{2}|(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2})\b",
        "birth", "dob", "born", "bday", "geburt", "naissance", "nacimiento", "nascita",
    ),
    "DriversLicense-AU": _of(r"\b[A-Z0-9]{6,10}\b", *_LICENSE),
    "DriversLicense-CA": _of(r"\b[A-Z0-9][A-Z0-9-]{5,17}\b", *_LICENSE),
    "DriversLicense-GB": _of(r"\b[A-Z9]{5}[0-9]{6}[A-Z9]{2}[A-Z0-9]{3}\b"),
    "DriversLicense-US": _of(r"\b[A-Z0-9][A-Z0-9-]{5,15}\b", *_LICENSE),
    **{
        f"DriversLicense-{country}": _of(r"\b[A-Z0-9][A-Z0-9/-]{5,17}\b", *_LICENSE)
        for country in _EU_LICENSES
    },
    "ElectoralRollNumber-GB": _of(r"\b[A-Z]{2}[0-9]{1,4}\b", "electoral"),
    "EmailAddress": _of(
        r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}\b"
    ),
    "IndividualTaxIdentificationNumber-US": _of(
        r"\b9[0-9]{2}[ -]?(?:5[0-9]|6[0-5]|7[0-9]|8[0-8]|9[0-24-9])[ -]?[0-9]{4}\b", "itin", "tax"
    ),
    "InseeCode-FR": _of(
        r"\b[12][ ]?[0-9]{2}[ ]?[0-9]{2}[ ]?[0-9AB]{2}[ ]?[0-9]{3}[ ]?[0-9]{3}(?:[ ]?[0-9]{2})?\b",
        "insee", "sécurité sociale", "securite sociale", "numéro", "numero",
    ),
    "LatLong": _of(
        r"(?<![\d.])-?[0-9]{1,2}\.[0-9]{3,10},[ ]?-?[0-9]{1,3}\.[0-9]{3,10}(?![\d.])",
        "lat", "long", "coord", "location", "position", "gps",
    ),
    "Name": _of(
        r"\b[A-Z][a-zà-ÿ'-]{1,30}(?:[ ][A-Z]\.?)?[ ][A-Z][a-zà-ÿ'-]{1,30}\b",
        "name", "mr", "mrs", "ms.", "dr.", "dear", "my name is", "customer", "patient", "contact",
    ),
    "NationalIdentificationNumber-DE": _of(
        r"\b[CFGHJKLMNPRTVWXYZ0-9]{9,10}\b", "ausweis", "personalausweis", "identity"
    ),
    "NationalIdentificationNumber-ES": _of(r"\b[0-9]{8}[ -]?[A-HJ-NP-TV-Z]\b"),
    "NationalIdentificationNumber-IT": _of(
        r"\b[A-Z]{6}[0-9]{2}[A-EHLMPR-T][0-9]{2}[A-Z][0-9]{3}[A-Z]\b",
    ),
    "NieNumber-ES": _of(r"\b[XYZ][ -]?[0-9]{7}[ -]?[A-Z]\b"),
    "NifNumber-ES": _of(r"\b[0-9]{8}[ -]?[A-HJ-NP-TV-Z]\b"),
    "PassportNumber-CA": _of(r"\b[A-Z]{2}[0-9]{6}\b", *_PASSPORT),
    "PassportNumber-DE": _of(r"\b[CFGHJK][CFGHJKLMNPRTVWXYZ0-9]{8}\b", *_PASSPORT),
    "PassportNumber-ES": _of(r"\b[A-Z]{3}[0-9]{6}\b", *_PASSPORT),
    "PassportNumber-FR": _of(r"\b[0-9]{2}[A-Z]{2}[0-9]{5}\b", *_PASSPORT),
    "PassportNumber-GB": _of(r"\b[0-9]{9}\b", *_PASSPORT),
    "PassportNumber-IT": _of(r"\b[A-Z]{2}[0-9]{7}\b", *_PASSPORT),
    "PassportNumber-US": _of(r"\b[A-Z]?[0-9]{8,9}\b", *_PASSPORT),
    "PermanentResidenceNumber-CA": _of(r"\b[A-Z]{2}[0-9]{7,10}\b", "permanent resid", "pr card"),
    "PhoneNumber-BR": _of(
        r"(?<![\d+])(?:\+?55[ -]?)?\(?[0-9]{2}\)?[ -]?9?[0-9]{4}[ -]?[0-9]{4}\b", *_PHONE
    ),
    "PhoneNumber-DE": _of(r"(?<![\d+])(?:\+49|0)[ /-]?[1-9][0-9]{1,4}[ /-]?[0-9]{3,9}\b", *_PHONE),
    "PhoneNumber-ES": _of(
        r"(?<![\d+])(?:\+34[ -]?)?[6-9][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}\b", *_PHONE
    ),
    "PhoneNumber-FR": _of(r"(?<![\d+])(?:\+33[ ]?|0)[1-9](?:[ .-]?[0-9]{2}){4}\b", *_PHONE),
    "PhoneNumber-GB": _of(
        r"(?<![\d+])(?:\+44[ -]?|0)[1-9][0-9]{1,4}[ -]?[0-9]{3,4}[ -]?[0-9]{3,4}\b", *_PHONE
    ),
    "PhoneNumber-IT": _of(r"(?<![\d+])(?:\+39[ -]?)?[03][0-9]{1,3}[ -]?[0-9]{5,8}\b", *_PHONE),
    "PhoneNumber-US": _of(
        r"(?<![\d+])(?:\+?1[ .-]?)?\(?[2-9][0-9]{2}\)?[ .-]?[0-9]{3}[ .-]?[0-9]{4}(?!\d)"
    ),
    "PostalCode-CA": _of(r"\b[A-CEGHJ-NPR-TVXY][0-9][A-Z][ -]?[0-9][A-Z][0-9]\b"),
    "RgNumber-BR": _of(
        r"\b[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}-?[0-9X]\b", "rg", "registro geral", "identidade"
    ),
    "SocialInsuranceNumber-CA": _of(
        r"\b[1-9][0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}\b", "sin", "social insurance", valid=luhn
    ),
    "Ssn-ES": _of(r"\b[0-9]{2}[ /-]?[0-9]{8}[ /-]?[0-9]{2}\b", *_SSN),
    "Ssn-US": _of(
        r"(?<![\d-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\d-])"
    ),
    "TaxId-DE": _of(r"\b[1-9][0-9]{10}\b", *_TAX),
    "TaxId-ES": _of(r"\b[A-Z0-9][0-9]{7}[A-Z0-9]\b", *_TAX),
    "TaxId-FR": _of(r"\b[0-3][0-9](?:[ ]?[0-9]{2,3}){4}\b", *_TAX),
    "TaxId-GB": _of(r"\b[0-9]{10}\b", *_TAX),
    "VehicleIdentificationNumber": _of(
        r"\b[A-HJ-NPR-Z0-9]{17}\b", "vin", "vehicle", "fahrgestell", "chassis"
    ),
    "ZipCode-US": _of(r"\b[0-9]{5}(?:-[0-9]{4})?\b", "zip", "postal"),
}  # fmt: skip
