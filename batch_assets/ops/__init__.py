"""Answers for operators: one service, and the command line and HTTP API in front of it."""
