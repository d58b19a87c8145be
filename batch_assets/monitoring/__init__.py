"""What the system says about itself: metrics, alerts, retention."""
