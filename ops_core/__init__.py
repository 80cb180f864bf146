"""Opspawn Core: AI agents as durable background tasks."""

__version__ = "0.1.0"
