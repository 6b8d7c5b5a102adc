// The search skips what is only digits, though its index has it: 225 is a word of this book. They count as terms again.
if (typeof Search !== "undefined") {
  const parse = Search._parseQuery;
  Search._parseQuery = query => {
    const parsed = parse(query), [, terms, , highlighted] = parsed;
    splitQuery(query).filter(word => /^\d+$/.test(word)).forEach(number => {
      terms.add(number);
      highlighted.add(number);
    });
    return parsed;
  };
}
