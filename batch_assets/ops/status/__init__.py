"""What the status page answers: feeds, failures, queues, resources. No HTML."""
