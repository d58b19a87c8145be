"""Daily bars and what vendors say beside them, from a feed or a vendor to rows."""
