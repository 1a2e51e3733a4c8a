# shellcheck shell=bash
# Sourced: what a slice such as v5e:8x8 is. The words are those of libtpu: generation, then chips along each axis.

GENERATION="" SHAPE="" CHIPS=0
FLAT="1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16"
CUBES="2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16 16x16x16"

read_topology() { # fills GENERATION, SHAPE and CHIPS from OPTION[topology]
  local given="${OPTION[topology]:-}" axis
  need topology "the slice, such as v5e:8x8 or v5p:2x2x4"
  GENERATION="${given%%:*}" SHAPE="${given#*:}"
  [[ "$given" == *:* && "$SHAPE" =~ ^[1-9][0-9]{0,2}(x[1-9][0-9]{0,2})*$ ]] ||
    fail "--topology=$given: write a generation and, behind a colon, its chips along each axis, as in v5e:8x8"
  case "$GENERATION" in
    v5e | v6e) is_one_of "$SHAPE" "$FLAT" || fail "--topology=$given: slices of $GENERATION are $FLAT" ;;
    v5p) is_one_of "$SHAPE" "$CUBES" || fail "--topology=$given: slices of v5p are $CUBES" ;;
    v4 | tpu7x)
      [[ "$SHAPE" =~ ^[0-9]+x[0-9]+x[0-9]+$ ]] || fail "--topology=$given: $GENERATION has three axes, as in 2x2x4"
      ;;
    *) fail "--topology=$given: no TPU is called $GENERATION; write v4, v5e, v5p, v6e or tpu7x" ;;
  esac
  CHIPS=1
  for axis in ${SHAPE//x/ }; do CHIPS=$((CHIPS * axis)); done
}

is_one_of() { # WORD WORDS
  [[ " $2 " == *" $1 "* ]]
}

hosts_of_slice() { # how many machines a slice has: of 4 chips each, but one of 8 for 2x4
  if [ "$CHIPS" -le 4 ] || [ "$SHAPE" = 2x4 ]; then
    echo 1
  else
    echo $((CHIPS / 4))
  fi
}
