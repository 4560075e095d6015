"""The smallest Django project with a database."""

SECRET_KEY = "tests"  # noqa: S105 - a test's
INSTALLED_APPS: list[str] = []
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
