"""One module for each verb, imported when it is called: options, one call of the library, printing."""
