/** The mark: a speech bubble with an open door. */
export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path
        className="logo-bubble"
        d="M9 2h14a7 7 0 0 1 7 7v9a7 7 0 0 1-7 7h-8.6l-6 4.7A1.5 1.5 0 0 1 6 28.5V24.6A7 7 0 0 1 2 18V9a7 7 0 0 1 7-7Z"
      />
      <path className="logo-door" d="M11 20V12.5a5 5 0 0 1 10 0V20a1 1 0 0 1-1 1h-8a1 1 0 0 1-1-1Z" />
      <circle className="logo-knob" cx="18.4" cy="14.8" r="1.3" />
    </svg>
  );
}
