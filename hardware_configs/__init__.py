"""Robot descriptions that ship with the package: data only; a package so that an installed wheel finds them."""
