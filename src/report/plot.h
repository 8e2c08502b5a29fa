// A chart as inline SVG. Places are in percent of the drawing's width and height, text and strokes
// in pixels: so the page's layout may stretch it to any width, on a phone or on paper, and nothing
// is scaled or redrawn.
#pragma once

#include <string>
#include <vector>

#include "report/axis.h"
#include "report/html.h"

namespace watersic::report {

struct Point {
  double x = 0, y = 0;
};

class Plot {
 public:
  // `height` of the drawing in pixels, without the room for labels around it. `spoken`: what the
  // chart shows, for those who hear the page. `css`: further classes of the chart.
  Plot(Axis x, Axis y, int height, std::string spoken, std::string css = "");

  // Colours and marks have numbers: the style sheet's --c0, --c1, ... and the page's #m0, #m1, ...
  // `tip`: what is said of the thing pointed at, its first line as a heading.
  void curve(const std::vector<Point>& points, size_t colour);
  void mark(Point at, size_t colour, const std::string& tip);
  void dot(Point at, size_t colour);
  void stem(double x, double from, double to, size_t colour, const std::string& css = "");
  void bar(double left, double right, double from, double to, size_t colour,
           const std::string& tip);
  // A short line across at one place of `count`.
  void dash(Point at, size_t count, const std::string& css);
  void rule(double y, const std::string& label);     // across the whole chart
  void rule_at(double x, const std::string& label);  // from top to bottom
  // The whole height at one of `count` places: so that small things are easy to point at.
  void area(double x, size_t count, const std::string& tip);
  // What the x axis counts, below its end.
  void across_is(const std::string& text) { across_is_ = text; }
  // Names a curve at one of its points; moved where it would cover another name.
  void name(Point at, const std::string& text, size_t colour);

  bool empty() const { return content_.empty(); }
  const Axis& x() const { return x_; }
  const Axis& y() const { return y_; }
  Html html() const;

 private:
  struct Name {
    double left, top;  // percent, pixels
    std::string text;
    size_t colour;
  };

  double across(double x) const { return x_.at(x); }
  double down(double y) const { return 100 - y_.at(y); }
  Html names() const;

  Axis x_, y_;
  int height_;
  std::string spoken_, css_, across_is_;
  Html content_;
  std::vector<Name> names_;
};

inline constexpr size_t kColours = 8, kMarks = 6;

// The marks that plots and legends use, once in the page.
Html mark_definitions();
// One mark with its name, for a legend.
Html legend_entry(const std::string& name, size_t colour);

}  // namespace watersic::report
