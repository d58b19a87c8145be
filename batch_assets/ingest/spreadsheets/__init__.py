"""Workbooks to typed tables, and corrected rows back into their partition."""
