// The one exception that the library throws for what a user can mend: a bad file, a bad option, a
// full disk. Broken invariants of our own are assertions.
#pragma once

#include <stdexcept>
#include <string>

namespace watersic {

// what() is one sentence for a person: where (file, field or tensor), what was expected, what was
// found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace watersic
