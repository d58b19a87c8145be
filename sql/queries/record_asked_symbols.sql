-- What a vendor was asked by symbol: answers settle what was owed, failures are owed from now on.
WITH settled AS (
    UPDATE market.failed_symbols
    SET owed_days = owed_days - datemultirange(daterange(%(first_day)s, %(last_day)s, '[]')),
        answered_at = CASE
            WHEN isempty(owed_days - datemultirange(daterange(%(first_day)s, %(last_day)s, '[]')))
            THEN clock_timestamp()
        END
    WHERE source = %(source)s
      AND symbol = ANY (%(asked)s::text[])
      AND NOT isempty(owed_days)
      AND owed_days && daterange(%(first_day)s, %(last_day)s, '[]')
)
INSERT INTO market.failed_symbols (source, symbol, asked_days, owed_days, run_id, error_class,
                                   error_message, is_retryable)
SELECT %(source)s, f.symbol, daterange(%(first_day)s, %(last_day)s, '[]'),
       CASE WHEN %(is_owed)s
            THEN datemultirange(daterange(%(first_day)s, %(last_day)s, '[]'))
            ELSE '{}'::datemultirange
       END,
       %(run_id)s, f.error_class, f.error_message, f.is_retryable
FROM unnest(%(symbols)s::text[], %(classes)s::text[], %(messages)s::text[], %(retryables)s::boolean[])
     AS f (symbol, error_class, error_message, is_retryable)
