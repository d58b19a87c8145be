"""The pages of docs/ and the README, run and compared with what they describe."""
