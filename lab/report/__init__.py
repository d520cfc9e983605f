"""What a reader sees: a summary becomes a view (plain text pieces, decided once), a view becomes a page or a screen."""
